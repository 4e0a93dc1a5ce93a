"""onnxscript's fusions for onnxruntime in the order of its `optimize_for_ort`, which tidies up between them by a road
that takes time with the square of the graph.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.ort_fusions import ORT_PATTERN_REWRITE_RULES, shape_optimization
from onnxscript.rewriter.ort_fusions.attention import fuse_attention
from onnxscript.rewriter.ort_fusions.bias_gelu import fuse_bias_gelu
from onnxscript.rewriter.ort_fusions.cos_sin_cache import fuse_cos_sin_cache
from onnxscript.rewriter.ort_fusions.erfgelu import fuse_erfgelu
from onnxscript.rewriter.ort_fusions.gelu import fuse_gelu
from onnxscript.rewriter.ort_fusions.gqa import fuse_gqa
from onnxscript.rewriter.ort_fusions.gqa_packed_qkv import fuse_qkv_gqa
from onnxscript.rewriter.ort_fusions.mha import fuse_mha1, fuse_mha2
from onnxscript.rewriter.ort_fusions.mha_bias import fuse_mha_bias
from onnxscript.rewriter.ort_fusions.mha_scale import fuse_mha_scale
from onnxscript.rewriter.ort_fusions.rms_normalization import fuse_rms_normalization
from onnxscript.rewriter.ort_fusions.rotary_embedding import fuse_partial_rotary_embedding, fuse_rotary_embedding
from onnxscript.rewriter.ort_fusions.sdpa import fuse_sdpa
from onnxscript.rewriter.ort_fusions.sdpa_via_mha import replace_sdpa_by_mha
from onnxscript.rewriter.ort_fusions.skip_normalization import (
    fuse_skip_layer_normalization,
    fuse_skip_rms_normalization,
)

from olive_like.passes._simplify import quiet_rules, simplify

Fusion = Callable[[ir.Model], int]

_NORMS_AND_ROTARY: dict[str, Fusion] = {
    "erf_gelu": fuse_erfgelu,
    "rms_normalization": fuse_rms_normalization,
    "skip_layer_normalization": fuse_skip_layer_normalization,
    "skip_rms_normalization": fuse_skip_rms_normalization,
    "rotary_embedding": fuse_rotary_embedding,
    "cos_sin_cache": fuse_cos_sin_cache,
}
_ATTENTION: dict[str, Fusion] = {
    "partial_rotary_embedding": fuse_partial_rotary_embedding,
    "sdpa": lambda model: int(fuse_sdpa(model, apply_shape_inference=True)),
    "gqa": fuse_gqa,
    "packed_qkv_for_gqa": fuse_qkv_gqa,
    "mha1": fuse_mha1,
    "mha2": fuse_mha2,
    "mha_scale": fuse_mha_scale,
}
_OF_MULTI_HEAD: dict[str, Fusion] = {"mha_bias": fuse_mha_bias, "attention": fuse_attention}
_LAST: dict[str, Fusion] = {"gelu": fuse_gelu, "bias_gelu": fuse_bias_gelu, "sdpa_via_mha": replace_sdpa_by_mha}


def fuse_for_ort(model: ir.Model) -> dict[str, int]:
    """Apply all of them in place; how often each did something."""
    counts: dict[str, int] = {}

    def apply(fusions: dict[str, Fusion]) -> None:
        with quiet_rules():
            counts.update({name: fusion(model) for name, fusion in fusions.items()})

    common.ShapeInferencePass()(model)
    simplify(model)  # patterns match only where shapes are known and constants folded
    shape_optimization.rules.apply_to_model(model)
    simplify(model)
    apply(_NORMS_AND_ROTARY)
    common.CommonSubexpressionEliminationPass()(model)
    apply(_ATTENTION)
    if counts["mha1"] or counts["mha2"]:
        apply(_OF_MULTI_HEAD)
    apply(_LAST)
    simplify(model)
    rewrite(model, ORT_PATTERN_REWRITE_RULES)
    common.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=1)(model)
    common.RemoveInitializersFromInputsPass()(model)
    common.ShapeInferencePass()(model)
    return counts
