"""ONNX folders: opened safely without reading the weights, and written without copying them through memory."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx_ir.passes import common

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_check import bytes_of, data_files, read_header, tensors
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxFileConfig

INLINE_LIMIT = 1_800_000_000  # protobuf ends at 2 GiB; the rest is for the graph
_LARGE = 1_500_000_000  # the same for models that other libraries have in memory, which add to them
_FICLONE = 0x40049409  # "share this file's blocks", from linux/fs.h
_GRAPH_ALIGNMENT = 64
_SHAPES = 128  # bytes; shapes and axes are smaller, and no runtime reads them from a data file
# Ops that onnxruntime has put into ONNX's own domain, where the checker does not know them.
_RUNTIME_OPS = frozenset({"SimplifiedLayerNormalization"})


# What may stand beside a model: configs, tokenizers, processors, pipelines of sentence-transformers.
SIDE_FILES = (
    "config.json", "generation_config.json", "genai_config.json", "tokenizer*", "special_tokens_map.json",
    "added_tokens.json", "chat_template*", "vocab*", "merges.txt", "spiece.model", "sentencepiece*", "*.tiktoken",
    "normalizer.json", "preprocessor_config.json", "processor_config.json", "*_processor_config.json",
    "modules.json", "*_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json",
)  # fmt: skip


def graph_file(model: OnnxModel) -> Path:
    """The model's main graph."""
    if model.path.is_file():
        return model.path
    if model.file.is_file() or "file" in model.attributes:
        return model.file
    found = sorted(model.path.glob("*.onnx"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise PassError(f"{model.path.name} does not say which ONNX file is its model (found: {names})", "Set `file`.")


def components(model: OnnxModel) -> dict[str, Path]:
    """Every graph of a model by its name; most models have one, called `model`."""
    listed = model.attributes.get("components")
    if not listed:
        return {"model": graph_file(model)}
    return {str(entry["name"]): model.path / str(entry["file"]) for entry in listed}


def load_proto(model: OnnxModel | Path) -> onnx.ModelProto:
    """The checked header of a model, without its external weights."""
    return read_header(model if isinstance(model, Path) else graph_file(model))


def load_ir(model: OnnxModel | Path) -> ir.Model:
    """The checked model for onnx-ir; external weights stay on disk until somebody looks at them."""
    path = model if isinstance(model, Path) else graph_file(model)
    try:
        loaded = ir.from_proto(read_header(path))
    except (ValueError, KeyError, NotImplementedError) as error:
        raise PassError(f"{path.name} cannot be worked on: {error}", "Check it with `onnx.checker`.") from error
    ir.external_data.set_base_dir(loaded.graph, path.parent)
    return loaded


def save_ir(model: ir.Model, path: Path, settings: OnnxFileConfig | None = None, spool: Path | None = None) -> Path:
    """Write a model; weights that came from a data file go over in one piece, by reference where the disk can.

    The model's external weights point to the written files afterwards. `spool` is a file of weights that nobody
    needs any more: it is moved where it can be, not copied.
    """
    settings = settings or OnnxFileConfig()
    if settings.size_threshold < _SHAPES:
        settings = settings.model_copy(update={"size_threshold": _SHAPES})
    path.parent.mkdir(parents=True, exist_ok=True)
    if settings.convert_attribute:
        common.LiftConstantsToInitializersPass(lift_all_constants=False)(model)
    values = [
        value for graph in model.graphs() for value in graph.initializers.values() if value.const_value is not None
    ]
    external = [value.const_value for value in values if isinstance(value.const_value, ir.ExternalTensor)]
    if not _beside(settings, values, bool(external)):
        for value in values:
            value.const_value = _inline(_tensor(value))
        _write_graph(model, path)
        return path
    name = settings.external_data_name or f"{path.name}.data"
    source = _whole_file(external)
    if not settings.all_tensors_to_one_file:
        _one_file_each(values, path, settings)
    elif spool is not None and any(Path(tensor.path) == spool for tensor in external):
        _take_over(spool, values, path, name, settings.size_threshold, move=True)
    elif source is not None and settings.save_as_external_data is not True:
        _take_over(source, values, path, name, settings.size_threshold)
    else:
        ir.external_data.unload_from_model(model, path.parent, name, size_threshold_bytes=settings.size_threshold)
        if (path.parent / name).stat().st_size == 0:
            (path.parent / name).unlink()  # every weight is below the threshold
    _write_graph(model, path)
    return path


def _tensor(value: ir.Value) -> Any:
    """A weight; typed loosely because what can be written to a file is known only when it runs."""
    return value.const_value


def _beside(settings: OnnxFileConfig, values: list[ir.Value], had: bool) -> bool:
    """Whether weights go to a file beside the graph."""
    total = sum(_tensor(value).nbytes for value in values)
    if total > INLINE_LIMIT:
        return True
    return had if settings.save_as_external_data is None else settings.save_as_external_data


def _whole_file(tensors: list[ir.ExternalTensor]) -> Path | None:
    """The one file that most of the weights come from, if it is worth to take it over as it is."""
    paths = {Path(tensor.path) for tensor in tensors}
    if len(paths) != 1:
        return None
    path = paths.pop()
    used = sum({tensor.offset or 0: tensor.nbytes for tensor in tensors}.values())
    return path if used * 10 >= path.stat().st_size * 9 else None


def _take_over(source: Path, values: list[ir.Value], path: Path, name: str, threshold: int, move: bool = False) -> None:
    """Copy or move the data file as a whole and put new weights behind the old ones."""
    target = path.parent / name
    if move:
        shutil.move(source, target)
    elif target != source:
        clone(source, target)
    with open(target, "r+b") as file:
        for value in values:
            tensor = _tensor(value)
            if isinstance(tensor, ir.ExternalTensor) and Path(tensor.path) == source:
                value.const_value = _at(tensor, path.parent, name, tensor.offset or 0)
            elif tensor.nbytes > threshold and tensor.dtype != ir.DataType.STRING:
                start = -(-file.seek(0, os.SEEK_END) // _GRAPH_ALIGNMENT) * _GRAPH_ALIGNMENT
                file.seek(start)
                tensor.tofile(file)
                value.const_value = _at(tensor, path.parent, name, start)
            else:
                value.const_value = _inline(tensor)


def _one_file_each(values: list[ir.Value], path: Path, settings: OnnxFileConfig) -> None:
    for index, value in enumerate(values):
        tensor = _tensor(value)
        if tensor.nbytes <= settings.size_threshold or tensor.dtype == ir.DataType.STRING:
            value.const_value = _inline(tensor)
            continue
        name = f"{path.name}.{index:05d}.data"
        with open(path.parent / name, "wb") as file:
            tensor.tofile(file)
        value.const_value = _at(tensor, path.parent, name, 0)


def _at(tensor: Any, folder: Path, name: str, offset: int) -> ir.ExternalTensor:
    return ir.ExternalTensor(
        name,
        offset,
        tensor.nbytes,
        tensor.dtype,
        shape=ir.Shape(tensor.shape),
        name=tensor.name,
        doc_string=tensor.doc_string,
        base_dir=folder,
    )


def _inline(tensor: Any) -> Any:
    if not isinstance(tensor, ir.ExternalTensor):
        return tensor
    return ir.external_data.convert_tensors_from_external([tensor])[0]


def _write_graph(model: ir.Model, path: Path) -> None:
    try:
        onnx.save(ir.to_proto(model), path, format="protobuf")
    except EncodeError as error:
        raise PassError(
            f"{path.name} cannot be written: it would be over the 2 GB that a graph may have",
            "Set `save_as_external_data: true` (and `convert_attribute: true` if the weights are nodes' attributes).",
        ) from error


def fits_no_file(model: onnx.ModelProto) -> bool:
    """Whether the weights of a model in memory are too many for one file of protobuf, which cannot tell it itself."""
    return sum(bytes_of(tensor) or 0 for tensor in tensors(model)) > _LARGE


def clone(source: Path, target: Path) -> None:
    """Copy a file, sharing its blocks where the file system can; otherwise inside the kernel."""
    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
            return
        except OSError:
            pass  # not this file system: the ordinary copy below
    shutil.copyfile(source, target)


def copy_side_files(source: OnnxModel, target: Path, graphs: Iterable[Path] | None = None) -> None:
    """Copy what stands beside the graphs: tokenizer, configs, chat template.

    `graphs` are those which the pass writes anew, by default all; any other comes along with its weights.
    """
    if source.path.is_file():
        return
    siblings = [source.path / name for name in source.attributes.get("siblings", ())]
    rewritten = list(siblings or components(source).values() if graphs is None else graphs)
    left_out: set[str] = set()
    for path in rewritten:
        left_out.add(path.relative_to(source.path).as_posix())
        inside = path.parent.relative_to(source.path)
        left_out.update((inside / name).as_posix() for name in data_files(load_proto(path)))
    for path in _beside_graphs(source):
        relative = path.relative_to(source.path)
        if relative.as_posix() in left_out or path.is_dir():
            continue
        if path.is_symlink():
            raise PassError(f"{relative} in the model's folder is a symbolic link", "Copy the model as plain files.")
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        clone(path, target / relative)


def _beside_graphs(source: OnnxModel) -> list[Path]:
    """All that is in a folder that a pass wrote; in a user's folder, who knows what else is there, known names only."""
    if "io" in source.attributes:
        return sorted(source.path.rglob("*"))
    return sorted({path for pattern in SIDE_FILES for path in source.path.glob(pattern)})


def _check_adapters(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """Adapters beside a graph are worth nothing once it has taken their inputs' defaults for constants."""
    old, new = (
        {value.name: value.type.tensor_type.elem_type for value in model.graph.input if ".lora_" in value.name}
        for model in (before, after)
    )
    if old != new:
        raise PassError(
            "this pass does away with the inputs of the model's adapters, or with their type",
            "MultiAdapterConversion has `torch_dtype`; behind it, only quantisers of weights and passes that leave "
            "inputs alone.",
        )


def finish(context: Context, source: OnnxModel, attributes: Mapping[str, Any] | None = None) -> OnnxModel:
    """The artifact that stands in `context.output`: checked, its inputs and outputs described anew.

    Attributes are the source's with `attributes` on top.
    """
    merged = {**source.attributes, **(attributes or {})}
    if "file" not in merged:
        merged["file"] = graph_file(source).name
    result = OnnxModel(context.output, merged)
    described = {}
    for name, path in components(result).items():
        header = load_proto(path)
        check(header, path)
        if source.attributes.get("adapters"):
            _check_adapters(load_proto(source), header)
        described[name] = describe_io(header)
    merged["io"] = described.get("model") or described
    return replace(result, attributes=merged)


def check(header: onnx.ModelProto, path: Path) -> None:
    """What onnx.checker says about a written model, as one line."""
    foreign = [node for node in header.graph.node if node.domain == "" and node.op_type in _RUNTIME_OPS]
    target = path
    if foreign:  # checked as ops that the checker does not know, in a header of its own
        for node in foreign:
            node.domain = "ai.onnxruntime"
        header.opset_import.add(domain="ai.onnxruntime", version=1)
        target = path.with_name(f".check-{path.name}")
        onnx.save(header, target, format="protobuf")
    try:
        onnx.checker.check_model(os.fspath(target))
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        raise PassError(f"the written {path.name} is not valid ONNX: {first}", "Please report this.") from error
    finally:
        if foreign:
            target.unlink()


def describe_io(header: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Names, types and shapes of a graph's inputs and outputs; axes of any size have names."""
    weights = {tensor.name for tensor in header.graph.initializer}
    return {
        "inputs": [_describe(value) for value in header.graph.input if value.name not in weights],
        "outputs": [_describe(value) for value in header.graph.output],
    }


def _describe(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if value.type.HasField("tensor_type") else None
    shape = [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim]
    return {"name": value.name, "dtype": dtype, "shape": shape if tensor.HasField("shape") else None}
