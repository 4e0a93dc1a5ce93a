"""onnxruntime's transformer optimiser, and onnxscript's for the architectures that it does not know."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir, save_ir
from olive_like.passes._onnx_rewrite import like_input, prove, target_of
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph import _script_fusion
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
    "gpt2": "gpt2",
    "gpt_neox": "gpt_neox",
    "swin": "swin",
    "wav2vec2-conformer": "conformer",
}
_SCRIPT = "onnxscript"  # for decoders with rotary embeddings, which onnxruntime's optimiser does not know
_LARGE = 1_500_000_000
_TOLERANCE = 2e-3


def fuse(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Fuse every graph of a model."""
    if config.use_gqa:
        raise PassError(
            "use_gqa: GroupQueryAttention cannot be put into a finished graph here",
            "ModelBuilder writes graphs with it.",
        )
    family = config.model_type or _family_of(model, context)
    if family != _SCRIPT and family not in optimizer.MODEL_TYPES:
        known = ", ".join(sorted([*optimizer.MODEL_TYPES, _SCRIPT]))
        raise PassError(f"model_type {family!r} is not known to onnxruntime's optimiser", f"It knows {known}.")
    counts: dict[str, int] = {}
    # onnxscript's rules know graphs of the newer exporter, onnxruntime's those of the older.
    scripted = not config.only_onnxruntime and not config.optimization_options
    for path in components(model).values():
        graph = load_ir(path)
        if scripted:
            _add(counts, _script_fusion.fuse_graph(graph))
        if family != _SCRIPT or not scripted or config.float16 or config.input_int32:
            work = context.scratch / path.stem / path.name
            save_ir(graph, work)
            graph, found = _by_onnxruntime(work, config, context, "bert" if family == _SCRIPT else family)
            counts = {**found, **{name: count for name, count in counts.items() if name not in found}}
        save_ir(graph, target_of(model, path, context), like_input(config, path))
    _script_fusion.report(counts, context)
    half = config.float16
    attributes = {"fusions": counts, **({"precision": "float16"} if half else {})}
    return prove(model, config, context, 2e-2 if half else _TOLERANCE, attributes=attributes)


def _add(counts: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


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


def _by_onnxruntime(path: Path, config: Any, context: Context, family: str) -> tuple[ir.Model, dict[str, int]]:
    options = FusionOptions(family)
    for name, value in (config.optimization_options or {}).items():
        if not hasattr(options, name):
            raise PassError(
                f"optimization_options has {name!r}, which there is not", f"There are: {', '.join(vars(options))}."
            )
        setattr(options, name, value)
    with _quiet():
        result = optimizer.optimize_model(
            str(path),
            family,
            num_heads=config.num_heads,
            hidden_size=config.hidden_size,
            optimization_options=options,
            opt_level=config.opt_level,
            use_gpu=config.use_gpu,
            only_onnxruntime=config.only_onnxruntime,
        )
        if config.float16:
            result.convert_float_to_float16(
                keep_io_types=config.keep_io_types,
                op_block_list=config.force_fp32_ops,
                node_block_list=config.force_fp32_nodes,
                force_fp16_inputs=config.force_fp16_inputs,
            )
        if config.input_int32:
            result.change_graph_inputs_to_int32()
        result.topological_sort()
    found = {name: count for name, count in result.get_fused_operator_statistics().items() if count}
    written = context.scratch / f"{path.stem}.fused.onnx"
    large = result.model.ByteSize() > _LARGE
    onnx.save_model(result.model, written, save_as_external_data=large, location=f"{written.name}.data")
    return load_ir(written), found


@contextmanager
def _quiet() -> Iterator[None]:
    """The optimiser reports every step as information, and what it cannot find as warnings."""
    names = ("onnxruntime.transformers", "onnx_model", "fusion_base", "")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
