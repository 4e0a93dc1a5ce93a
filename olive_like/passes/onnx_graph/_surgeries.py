"""Which function does what a surgeon's settings ask for, and the pass that calls them in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_rewrite import COMPARE_UP_TO, HEADER_COMPARE_UP_TO, rewrite
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons import (
    _attention,
    _dimensions,
    _embeddings,
    _gemm,
    _interface,
    _lm_head,
    _norms,
    _rewrites,
    _rotary,
)
from olive_like.passes.onnx_quantize._select import name_nodes

SURGEONS: dict[str, Callable[[ir.Model, Any], int]] = {
    "AddIntermediateTensorsToOutputs": _interface.expose_values,
    "AttentionMaskToSequenceLengths": _attention.lengths_as_inputs,
    "DecomposeQuickGelu": _rewrites.decompose_quick_gelu,
    "DecomposeRotaryEmbedding": _rotary.decompose,
    "DeduplicateNodes": _rewrites.merge_equal_nodes,
    "DeduplicateSubgraphInitializers": _rewrites.merge_equal_weights,
    "ExposeOutputs": _interface.expose_outputs,
    "ExposeQuantizedOutput": _interface.expose_quantized,
    "GemmToMatMulAdd": _gemm.gemm_to_matmul_add,
    "InferShapes": _dimensions.infer_shapes,
    "MatMulAddToGemm": _rewrites.matmul_add_to_gemm,
    "MatMulToTransposeMatMul": _rewrites.transpose_weights,
    "PackedAttentionToLoopMHA": _attention.packed_attention_to_loop,
    "PackedAttentionToPackedMHA": _attention.packed_attention_to_packed,
    "PowReduceSumPowDiv2LpNorm": _norms.spelled_lp_norm,
    "PruneLmHead": _lm_head.keep_last,
    "QuantizeEmbeddingInt8": _embeddings.quantize_embedding,
    "RMSNormToL2Norm": _norms.rms_to_l2,
    "ReciprocalMulToDiv": _rewrites.reciprocal_mul_to_div,
    "RemoveGidxFromMatMulNBits": _rewrites.remove_group_index,
    "RemoveInitializerFromInputs": _interface.remove_initializers_from_inputs,
    "RemoveInputs": _interface.remove_inputs,
    "RemoveMemcpy": _rewrites.remove_memcpy,
    "RemoveQDQ": _rewrites.remove_qdq,
    "RemoveRopeMultiCache": _attention.single_rope_cache,
    "RemoveShapes": _dimensions.remove_shapes,
    "RenameInputDims": _dimensions.rename_input_dims,
    "RenameInputs": _interface.rename_inputs,
    "RenameOutputDims": _dimensions.rename_output_dims,
    "RenameOutputs": _interface.rename_outputs,
    "ReorderInputs": _interface.reorder_inputs,
    "ReplaceAttentionMaskValue": _rewrites.replace_mask_values,
    "ReplaceErfWithTanh": _rewrites.erf_to_tanh,
    "ShareEmbeddingLmHead": _embeddings.share,
    "SimplifiedLayerNormToL2Norm": _norms.simplified_to_l2,
    "TieWordEmbeddings": _embeddings.tie,
    "ZeroOutInput": _interface.zero_out,
}

# These change what goes in or comes out, or mean to change the numbers: there is nothing to compare by.
_NOT_COMPARED = frozenset(
    {"RenameInputs", "RenameOutputs", "RemoveInputs", "ZeroOutInput", "ExposeQuantizedOutput"}
    | {"AttentionMaskToSequenceLengths", "PackedAttentionToLoopMHA", "RemoveQDQ"}
    | {"PackedAttentionToPackedMHA"}
)
# These leave the weights alone: a model that is quick to rewrite is not to be slow to check.
_HEADER_ONLY = frozenset(
    {"RenameInputs", "RenameOutputs", "ReorderInputs", "RenameInputDims", "RenameOutputDims", "InferShapes"}
    | {"RemoveShapes", "RemoveInputs", "RemoveInitializerFromInputs", "ExposeOutputs", "RemoveMemcpy"}
    | {"AddIntermediateTensorsToOutputs", "ReciprocalMulToDiv", "RemoveRopeMultiCache"}
    | {"PruneLmHead"}
)
_APPROXIMATE = {"ReplaceErfWithTanh": 0.1, "QuantizeEmbeddingInt8": 0.15, "ShareEmbeddingLmHead": 0.5}
_ROUNDING = 1e-3  # a normalisation without its tiny epsilon, sums in another order


def operate(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """All surgeries, one after the other, on every graph."""

    def change(graph: ir.Model) -> int:
        name_nodes(graph)
        total = 0
        for surgery in config.surgeries:
            done = SURGEONS[surgery.surgeon](graph, surgery)
            context.note(f"{surgery.surgeon}: {done} change{'' if done == 1 else 's'}")
            total += done
        graph.graph.sort()
        if config.remove_duplicate_initializers and not names <= _HEADER_ONLY:
            total += _rewrites.merge_equal_weights(graph, None)
        return total

    names = {surgery.surgeon for surgery in config.surgeries}
    return rewrite(
        model,
        config,
        context,
        change,
        tolerance=max([_ROUNDING, *(_APPROXIMATE.get(name, 0.0) for name in names)]),
        compare_up_to=HEADER_COMPARE_UP_TO if names <= _HEADER_ONLY else COMPARE_UP_TO,
        comparable=not names & _NOT_COMPARED,
    )
