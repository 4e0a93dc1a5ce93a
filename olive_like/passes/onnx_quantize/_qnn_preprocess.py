"""Call onnxruntime's own preparation, and prove what it made."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx_ir as ir
from onnxruntime.quantization.execution_providers.qnn import qnn_preprocess_model

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir, save_ir
from olive_like.passes._onnx_rewrite import like_input, prove, target_of
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._integer import is_large, quiet, scratch_file
from olive_like.passes.onnx_quantize._preprocess import prepare

_TOLERANCE = 1e-3  # a norm that is computed in another order
_WATCHED = ("Gelu", "LpNormalization", "SpaceToDepth", "LayerNormalization")


def preprocess(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Every graph of a model; names of inputs and outputs stay."""
    moved = [*(config.inputs_to_make_channel_last or ()), *(config.outputs_to_make_channel_last or ())]
    made = 0
    for path in components(model).values():
        graph = load_ir(path)
        known = {str(value.name) for value in (*graph.graph.inputs, *graph.graph.outputs)}
        missing = [name for name in moved if name not in known]
        if missing:
            raise PassError(f"the model has no input or output {missing[0]!r}", f"It has: {', '.join(sorted(known))}.")
        before = _counted(graph)
        work = scratch_file(context, path)
        save_ir(graph, work)
        work = prepare(work, symbolic=False)  # the runtime's own fusions, which the tool makes and does not keep
        result = work.with_suffix(".qnn.onnx")
        with quiet():
            changed = qnn_preprocess_model(
                work,
                result,
                fuse_layernorm=config.fuse_layernorm,
                save_as_external_data=is_large(graph),
                all_tensors_to_one_file=True,
                inputs_to_make_channel_last=config.inputs_to_make_channel_last,
                outputs_to_make_channel_last=config.outputs_to_make_channel_last,
            )
        after = load_ir(result if changed else work)
        fused = _counted(after) - before
        made += sum(fused.values()) + len(moved)
        if fused:
            context.note("fused: " + ", ".join(f"{op} {number}" for op, number in sorted(fused.items())))
        save_ir(after, target_of(model, path, context), like_input(config, path))
    context.metric("changes", made)
    if not made:
        context.warn("the graph did not change: there was nothing in it for this pass")
    return prove(model, config, context, _TOLERANCE, comparable=not moved)


def _counted(graph: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in graph.graph if node.op_type in _WATCHED)
