"""Decoders whose graphs take a fixed number of new tokens; the cache stays as long as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import (
    check,
    components,
    copy_side_files,
    describe_io,
    finish,
    load_ir,
    load_proto,
    save_ir,
)
from olive_like.passes._onnx_rewrite import EXACT, HEADER_COMPARE_UP_TO, model_bytes
from olive_like.passes._verify import Comparison, NotComparable, compare_models, judge
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph._fixed_shape import apply_sizes, infer_again
from olive_like.passes.onnx_graph._static_llm_config import describe
from olive_like.passes.onnx_pass import copy_beside_parts

PROMPT, TOKEN = "context", "iterator"


def fix(model: OnnxModel | CompositeModel, config: Any, context: Context) -> OnnxModel | CompositeModel:
    """Every graph with a cache is fixed; of a model of several parts, the others get their batch."""
    if isinstance(model, CompositeModel):
        return _each_part(model, config, context)
    graphs = _written(model, config, context.output, {})
    copy_side_files(model, context.output, list(components(model).values()))
    kept = {key: value for key, value in model.attributes.items() if key not in ("components", "io")}
    attributes = {**kept, **_attributes(graphs)}
    result = finish(context, OnnxModel(model.path, kept), attributes)
    describe(context.output, [("", result)], config)
    verified = _verify(model, result, config, context)
    return OnnxModel(context.output, {**result.attributes, **({"verified": verified} if verified else {})})


def _each_part(model: CompositeModel, config: Any, context: Context) -> CompositeModel:
    parts = []
    sizes: dict[str, int] = {}  # axes have the same names in all parts
    for entry in model.attributes["components"]:
        if entry["kind"] != OnnxModel.kind:
            raise PassError(f"the part {entry['name']!r} is {entry['kind']}, not onnx_model")
        part = OnnxModel(model.path / entry["path"], entry["attributes"])
        sizes |= _sizes(part, config)
        parts.append((entry, part))
    if not any(_has_attention(part) for _, part in parts):
        raise _no_attention()
    entries, made = [], []
    for entry, part in parts:
        target = context.output / entry["path"]
        target.mkdir(parents=True, exist_ok=True)
        graphs = _written(part, config, target, sizes)
        copy_side_files(part, target, list(components(part).values()))
        kept = {key: value for key, value in part.attributes.items() if key not in ("components", "io")}
        described = {}
        for name, file in graphs.items():
            check(header := load_proto(file), file)
            described[name] = describe_io(header)
        io = next(iter(described.values())) if len(described) == 1 else described
        attributes = {**kept, **_attributes(graphs), "io": io}
        entries.append({**entry, "attributes": attributes})
        made.append((str(entry["path"]), OnnxModel(target, attributes)))
    copy_beside_parts(model, context.output)
    describe(context.output, made, config)
    return CompositeModel(context.output, {**model.attributes, "components": entries})


def _attributes(graphs: dict[str, Path]) -> dict[str, Any]:
    first = next(iter(graphs.values()))
    if len(graphs) == 1:
        return {"file": first.name}
    return {"file": first.name, "components": [{"name": n, "file": path.name} for n, path in graphs.items()]}


def _written(model: OnnxModel, config: Any, target: Path, known: dict[str, int]) -> dict[str, Path]:
    """The graphs that a model becomes, by name; two of them read the same data file."""
    found = components(model)
    if len(found) != 1:
        raise PassError(f"the model has {len(found)} graphs ({', '.join(found)}), and one is needed")
    source = next(iter(found.values()))
    if not _has_attention(model):
        if not known:
            raise _no_attention()
        batch = {name: size for name, size in known.items() if size == config.batch_size and "batch" in name}
        return {"model": _fixed(load_ir(source), batch, target / source.name, config)}
    sizes = known or _sizes(model, config)
    several = config.prefill_decode_models and config.context_length > 1
    if not several:
        return {"model": _fixed(load_ir(source), sizes, target / source.name, config)}
    shared = config.model_copy(
        update={
            "save_as_external_data": True,
            "all_tensors_to_one_file": True,
            "external_data_name": config.external_data_name or f"{source.name}.data",
        }
    )
    prompt = _fixed(load_ir(source), sizes, target / f"{PROMPT}.onnx", shared)
    one = {name: 1 if size == config.context_length and "batch" not in name else size for name, size in sizes.items()}
    # Written from the file just made, whose weights are in place: nothing of them is written again.
    again = shared.model_copy(update={"save_as_external_data": None})
    token = _fixed(load_ir(prompt), {}, target / f"{TOKEN}.onnx", again, _lengths(source, one))
    return {PROMPT: prompt, TOKEN: token}


def _fixed(
    graph: ir.Model, sizes: dict[str, int], target: Path, config: Any, shapes: dict[str, ir.Shape] | None = None
) -> Path:
    """The graph with its axes fixed by name, or with whole shapes of inputs and outputs."""
    for value in [*graph.graph.inputs, *graph.graph.outputs]:
        if shapes is not None and value.name in shapes:
            value.shape = shapes[value.name]
        apply_sizes(value, sizes)
    infer_again(graph)
    return save_ir(graph, target, config)


def _lengths(source: Path, sizes: dict[str, int]) -> dict[str, ir.Shape]:
    """Shapes of inputs and outputs as they are in the model, axes fixed."""
    graph = load_ir(source).graph
    values = [*graph.inputs, *graph.outputs]
    for value in values:
        apply_sizes(value, sizes)
    return {str(value.name): value.shape for value in values if value.shape is not None}


def _sizes(model: OnnxModel, config: Any) -> dict[str, int]:
    """What the axes of the tokens become, by their names."""
    for path in components(model).values():
        for value in load_ir(path).graph.inputs:
            if value.name in ("input_ids", "inputs_embeds") and value.shape is not None:
                axes = [axis.value if isinstance(axis, ir.SymbolicDim) else None for axis in value.shape]
                wanted = zip(axes, (config.batch_size, config.context_length), strict=False)
                return {str(name): size for name, size in wanted if name is not None}
    return {}


def _has_attention(model: OnnxModel) -> bool:
    return any(
        node.op_type == "GroupQueryAttention" for path in components(model).values() for node in load_ir(path).graph
    )


def _no_attention() -> PassError:
    return PassError(
        "the model has no GroupQueryAttention, whose cache may have any length while new tokens are fixed",
        "Build it with ModelBuilder; DynamicToFixedShape fixes the axes of other models.",
    )


def _verify(before: OnnxModel, after: OnnxModel, config: Any, context: Context) -> dict[str, Any] | None:
    """Each graph against the one that it is of, on as many tokens as it takes."""
    if config.verify == "off":
        return None
    if config.verify == "warn" and model_bytes(before) > HEADER_COMPARE_UP_TO:
        context.note("outputs were not compared, since the model is large; `verify: fail` compares at any size")
        return None
    plain = {key: value for key, value in before.attributes.items() if key != "components"}
    result = Comparison()
    for path in components(after).values():
        one = OnnxModel(after.path, {**plain, "file": path.name, "io": describe_io(load_proto(path))})
        try:
            result.merge(compare_models(before, one, context, past=(0,)))
        except NotComparable as error:
            if config.verify == "fail":
                raise
            context.warn(f"not compared: {error.message}")
            return None
    return judge(result, config.verify, config.verify_tolerance or EXACT, context)
