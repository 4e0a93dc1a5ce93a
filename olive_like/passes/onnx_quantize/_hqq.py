"""Half-quadratic quantisation: zero points moved so that a robust norm of the error gets small."""

from __future__ import annotations

from typing import Any

import numpy as np

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._blockwise import Request, Spec, by_rows
from olive_like.passes.onnx_quantize._blockwise import quantize as quantize_blocks

_NORM = 0.7  # the error's norm; below 1 it forgives a few large errors
_BETA = 10.0
_BETA_GROWTH = 1.01
_STEPS = 20


def round_half_quadratic(w: np.ndarray, spec: Spec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers, scales and zero points of blocks [M, block].

    Zero points are kept whole, at a small loss, because the runtime's fast kernels take no others.
    """
    top = np.float32((1 << spec.bits) - 1)
    low, high = w.min(axis=1, keepdims=True), w.max(axis=1, keepdims=True)
    span = high - low
    scale = np.where(span > 1e-8, span / top, np.float32(1))
    zero = -low / scale
    best, best_zero = _error(w, scale, np.rint(zero), top), np.rint(zero)
    beta = _BETA
    for _ in range(_STEPS):
        q = np.clip(np.rint(w / scale + zero), 0, top)
        noise = _shrink(w - (q - zero) * scale, beta)
        zero = (q - (w - noise) / scale).mean(axis=1, keepdims=True)
        beta *= _BETA_GROWTH
        whole = np.clip(np.rint(zero), 0, top)
        error = _error(w, scale, whole, top)
        better = error < best
        if not better.any():
            break
        best, best_zero = np.where(better, error, best), np.where(better[:, None], whole, best_zero)
    best_zero = np.clip(best_zero, 0, top)
    q = np.clip(np.rint(w / scale + best_zero), 0, top)
    return q.astype(np.uint8), scale[:, 0], best_zero[:, 0].astype(np.uint8)


def _shrink(x: np.ndarray, beta: float) -> np.ndarray:
    """The step of the solver that takes the large errors out."""
    size = np.abs(x)
    threshold = np.power(size + 1e-8, _NORM - 1) / np.float32(beta)
    return np.sign(x) * np.maximum(size - threshold, 0)


def _error(w: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: np.float32) -> np.ndarray:
    q = np.clip(np.rint(w / scale + zero), 0, top)
    return np.abs(w - (q - zero) * scale).mean(axis=1)


def quantize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """All weights of MatMul and Gemm."""
    spec = Spec(config.bits, config.block_size, symmetric=False)
    request = Request(
        spec=lambda _: spec,
        rounder=by_rows(round_half_quadratic),
        precision=f"int{config.bits}",
        bits=config.bits,
        method="hqq",
        accuracy_level=config.accuracy_level,
        include=config.nodes_to_include,
        exclude=config.nodes_to_exclude,
        more={"block_size": config.block_size},
    )
    return quantize_blocks(model, config, context, request)
