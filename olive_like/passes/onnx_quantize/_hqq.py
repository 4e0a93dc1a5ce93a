"""Half-quadratic quantisation: scales and zero points fitted to all weights but outliers."""

from __future__ import annotations

from typing import Any

import numpy as np

from olive_like.artifacts import OnnxModel
from olive_like.passes import _hqq
from olive_like.passes._grids import Found, Grids
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._blockwise import Request, Spec, rounder
from olive_like.passes.onnx_quantize._blockwise import quantize as quantize_blocks
from olive_like.passes.onnx_quantize._rounding import on_grids

_NORM = 0.7  # the error's norm; below 1 it forgives a few large errors
_STEPS = 20


def search(blocks: np.ndarray, grids: Grids) -> Found:
    """Scales and zero points of blocks [length, count]."""
    return _hqq.search(blocks, grids, _STEPS, _NORM)


def quantize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """All weights of MatMul and Gemm."""
    spec = Spec(config.bits, config.block_size, symmetric=False)
    request = Request(
        spec=lambda _: spec,
        rounder=rounder(on_grids(search)),
        precision=f"int{config.bits}",
        bits=config.bits,
        method="hqq",
        accuracy_level=config.accuracy_level,
        include=config.nodes_to_include,
        exclude=config.nodes_to_exclude,
        more={"block_size": config.block_size},
    )
    return quantize_blocks(model, config, context, request)
