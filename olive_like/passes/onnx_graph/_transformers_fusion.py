"""onnxruntime's transformer optimiser, and onnxscript's for the architectures that it does not know."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, chdir
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, fits_no_file, load_ir, save_ir
from olive_like.passes._onnx_rewrite import like_input, prove, target_of
from olive_like.passes._quiet import errors_only
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph import _script_fusion
from olive_like.passes.onnx_graph._peephole import count_nodes
from olive_like.passes.tasks import read_config

# Architectures by the name in config.json -> whose patterns onnxruntime looks for.
_FAMILIES = {
    **dict.fromkeys(
        ("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "albert", "electra", "mpnet", "deberta"), "bert"
    ),
    **dict.fromkeys(("vit", "deit", "beit", "dinov2"), "vit"),
    **dict.fromkeys(("bart", "mbart", "whisper", "pegasus"), "bart"),
    **dict.fromkeys(("clip", "clip_text_model", "clip_vision_model"), "clip"),
    **dict.fromkeys(("t5", "mt5"), "t5"),
    "swin": "swin",
    "wav2vec2-conformer": "conformer",
}
_SCRIPT = "onnxscript"  # for decoders with a cache, whose graphs onnxruntime's optimiser does not know or breaks
# What a pattern that does not fit raises inside the optimiser, which checks little.
_CRASHES = (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
_CASTS = ("graph_input_cast", "graph_output_cast")
_TOLERANCE = 2e-3
_ONE_FOLDER = threading.Lock()  # the current folder is the whole process's


def fuse(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Fuse every graph of a model."""
    family = config.model_type or _family_of(model, context)
    if family != _SCRIPT and family not in optimizer.MODEL_TYPES:
        known = ", ".join(sorted([*optimizer.MODEL_TYPES, _SCRIPT]))
        raise PassError(f"model_type {family!r} is not known to onnxruntime's optimiser", f"It knows {known}.")
    settings = _with_sizes(config, model).model_copy(update={"use_gqa": _script_fusion.wants_groups(config, context)})
    counts: dict[str, int] = {}
    for path in components(model).values():
        graph, found = _best(path, settings, context, family)
        for name, count in found.items():
            counts[name] = counts.get(name, 0) + count
        save_ir(graph, target_of(model, path, context), like_input(config, path))
    _script_fusion.report(counts, context)
    if config.use_gqa and not counts.get("group_query_attention"):
        context.warn("use_gqa: the graph has no attention with a mask and a cache that fits GroupQueryAttention")
    half = config.float16
    attributes = {"fusions": counts, **({"precision": "float16"} if half else {})}
    return prove(model, config, context, 2e-2 if half else _TOLERANCE, attributes=attributes)


def _with_sizes(config: Any, model: OnnxModel) -> Any:
    """Heads and width from the config beside the model: many graphs do not show them."""
    known = read_config(model.path) if (model.path / "config.json").is_file() else {}
    sizes = {"num_heads": known.get("num_attention_heads"), "hidden_size": known.get("hidden_size")}
    return config.model_copy(
        update={key: v for key, v in sizes.items() if isinstance(v, int) and not getattr(config, key)}
    )


def _best(path: Path, config: Any, context: Context, family: str) -> tuple[ir.Model, dict[str, int]]:
    """The shortest graph of what can be done: onnxscript's rules know graphs of the newer exporter, onnxruntime's
    those of the older, and which of them finds more shows only afterwards.
    """
    scripts = not config.only_onnxruntime and not config.optimization_options
    if family == _SCRIPT:
        if scripts and not config.float16 and not config.input_int32:
            graph = load_ir(path)
            return graph, _script_fusion.fuse_graph(graph, config.use_gqa)
        return _fused(path, config, context, "bert", scripts)
    tries = [False, True] if scripts else [False]
    results: list[tuple[ir.Model, dict[str, int]]] = []
    trouble: PassError | None = None
    for first in tries:
        try:
            results.append(_fused(path, config, context, family, first))
        except PassError as error:
            trouble = trouble or error
    if not results and trouble is not None:
        raise trouble
    return min(results, key=lambda result: count_nodes(result[0]))


def _fused(path: Path, config: Any, context: Context, family: str, script: bool) -> tuple[ir.Model, dict[str, int]]:
    """onnxruntime's optimiser, alone or behind onnxscript's rules."""
    graph, counts = load_ir(path), {}
    if script:
        counts = _script_fusion.fuse_graph(graph, config.use_gqa)
    if config.float16:
        _free_names(graph)
    work = context.scratch / f"{path.stem}-{'script' if script else 'plain'}" / path.name
    save_ir(graph, work)
    graph, found = _by_onnxruntime(work, config, family)
    return graph, {**{name: count for name, count in counts.items() if name not in found}, **found}


def _free_names(graph: ir.Model) -> None:
    """A graph that was cast before has the names that casting it again would give."""
    for node in graph.graph:
        if str(node.name).startswith(_CASTS):
            node.name = f"earlier_{node.name}"
        for value in node.outputs:
            if str(value.name).startswith(_CASTS) and not value.is_graph_output():
                value.name = f"earlier_{value.name}"


def _family_of(model: OnnxModel, context: Context) -> str:
    """Whose patterns to look for, from the config beside the model."""
    known = (model.path / "config.json").is_file()
    kind = str(read_config(model.path).get("model_type", "")) if known else str(model.attributes.get("model_type", ""))
    family = _FAMILIES.get(kind, _SCRIPT if kind else "bert")
    if not kind:
        context.note("model_type is not known (there is no config.json beside the graph): taken to be bert")
    else:
        context.note(f"model_type {kind}: fusions of {family}")
    return family


def _by_onnxruntime(path: Path, config: Any, family: str) -> tuple[ir.Model, dict[str, int]]:
    options = FusionOptions(family)
    known = vars(FusionOptions("unet")) | vars(options)  # some concern a few families only
    for name, value in (config.optimization_options or {}).items():
        if name not in known:
            raise PassError(f"optimization_options has {name!r}, which there is not", f"There are: {', '.join(known)}.")
        setattr(options, name, value)
    with (
        _ONE_FOLDER,
        _quiet(),
        chdir(path.parent),
    ):  # shapes that cannot be inferred make it leave files in the current folder
        try:
            result = optimizer.optimize_model(
                str(path),
                family,
                num_heads=config.num_heads,
                hidden_size=config.hidden_size,
                optimization_options=options,
                opt_level=1 if config.opt_level is None else config.opt_level,
                use_gpu=config.use_gpu,
                only_onnxruntime=config.only_onnxruntime,
            )
        except _CRASHES as error:
            raise PassError(
                f"onnxruntime's optimiser for {family} breaks off on this graph: {type(error).__name__}: {error}",
                "It was written for graphs of another exporter: leave `model_type` out, or use OnnxScriptFusion.",
            ) from error
        if config.float16:
            result.convert_float_to_float16(
                keep_io_types=config.keep_io_types,
                op_block_list=config.force_fp32_ops,
                node_block_list=config.force_fp32_nodes,
                force_fp16_inputs=config.force_fp16_inputs,
            )
        if config.input_int32:
            result.change_graph_inputs_to_int32()
    found = {name: count for name, count in result.get_fused_operator_statistics().items() if count}
    written = path.with_suffix(".fused.onnx")
    large = fits_no_file(result.model)
    onnx.save_model(result.model, written, save_as_external_data=large, location=f"{written.name}.data")
    graph = load_ir(written)
    graph.graph.sort()
    for domain in sorted({node.domain for part in graph.graphs() for node in part}):
        graph.opset_imports.setdefault(domain, 1)  # some of the fusions do not declare what they use
    return graph, found


def _quiet() -> AbstractContextManager[None]:
    """The optimiser reports every step as information, and what it cannot find as warnings."""
    return errors_only("onnxruntime.transformers", "onnx_model", "fusion_base", "")
