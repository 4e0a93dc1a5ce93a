"""Half-quadratic quantisation: scales and zero points fitted to all weights but outliers."""

from __future__ import annotations

from typing import Any

import numpy as np

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._blockwise import Request, Spec, rounder
from olive_like.passes.onnx_quantize._blockwise import quantize as quantize_blocks
from olive_like.passes.onnx_quantize._rounding import on_grids

_NORM = 0.7  # the error's norm; below 1 it forgives a few large errors
_BETA = 4.0
_BETA_GROWTH = 1.05
_STEPS = 20


def half_quadratic(w: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Scales and zero points of blocks [length, count].

    Zero points are kept whole, because the runtime's fast kernels take no others; scales move with them instead.
    """
    top = np.float32((1 << bits) - 1)
    low, high = np.minimum(w.min(0), 0), np.maximum(w.max(0), 0)
    scale = np.where(high > low, (high - low) / top, np.float32(1))
    zero = np.clip(np.rint(-low / scale), 0, top)
    best, best_scale, best_zero = _error(w, scale, zero, top), scale, zero
    beta = _BETA / np.maximum(scale, 1e-12)  # in steps of the scale, so that the size of the weights plays no part
    for _ in range(_STEPS):
        q = np.clip(np.rint(w / scale + zero), 0, top)
        scale, zero = _fit(w - _shrink(w - (q - zero) * scale, beta), q, scale, zero, top)
        error = _error(w, scale, zero, top)
        better = error < best
        best = np.minimum(error, best)
        best_scale, best_zero = np.where(better, scale, best_scale), np.where(better, zero, best_zero)
        beta = beta * _BETA_GROWTH
    return best_scale, best_zero


def _fit(
    target: np.ndarray, q: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and whole zero point with which the integers fit what is left of the weights best."""
    centre = q.mean(0)
    spread = np.square(q - centre).sum(0)
    slope = ((q - centre) * target).sum(0) / np.where(spread > 0, spread, np.float32(1))
    slope = np.where(slope > 0, slope, scale)
    whole = np.clip(np.rint(centre - target.mean(0) / slope), 0, top)
    power = np.square(q - whole).sum(0)
    fitted = ((q - whole) * target).sum(0) / np.where(power > 0, power, np.float32(1))
    return np.where(fitted > 0, fitted, scale), np.where(fitted > 0, whole, zero)


def _shrink(x: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The step of the solver that takes the large errors out."""
    size = np.abs(x)
    threshold = np.power(size * beta + 1e-8, _NORM - 1) / beta
    return np.sign(x) * np.maximum(size - threshold, 0)


def _error(w: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: np.float32) -> np.ndarray:
    q = np.clip(np.rint(w / scale + zero), 0, top)
    return np.power(np.abs(w - (q - zero) * scale), _NORM).mean(0)


def quantize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """All weights of MatMul and Gemm."""
    spec = Spec(config.bits, config.block_size, symmetric=False)
    request = Request(
        spec=lambda _: spec,
        rounder=rounder(on_grids(half_quadratic)),
        precision=f"int{config.bits}",
        bits=config.bits,
        method="hqq",
        accuracy_level=config.accuracy_level,
        include=config.nodes_to_include,
        exclude=config.nodes_to_exclude,
        more={"block_size": config.block_size},
    )
    return quantize_blocks(model, config, context, request)
