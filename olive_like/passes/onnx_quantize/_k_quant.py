"""A search per block for the scale and offset with the least weighted error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._blockwise import Request, Site, Spec, by_rows
from olive_like.passes.onnx_quantize._blockwise import quantize as quantize_blocks
from olive_like.passes.onnx_quantize._select import matching, name_nodes

# Candidates for the number of steps over a block's range: a little fewer or more than it holds.
_CANDIDATES = np.linspace(-1.0, 1.0, 9, dtype=np.float32)
_WEIGHTS_AT_ONCE = 1 << 17  # what the processor's cache holds, with all that is made of them
_KEYS = {"bits", "block_size"}


def round_searched(w: np.ndarray, spec: Spec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers, scales and zero points of blocks [M, block]."""
    step = max(1, _WEIGHTS_AT_ONCE // spec.block)
    parts = [_search(w[start : start + step], spec.bits) for start in range(0, len(w), step)]
    q, scales, zeros = (np.concatenate(column) for column in zip(*parts, strict=True))
    return q, scales, zeros


def _search(w: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    top = np.float32((1 << bits) - 1)
    weights = np.abs(w) + np.sqrt((w * w).mean(axis=1, keepdims=True))  # large weights count for more
    low = np.minimum(w.min(axis=1, keepdims=True), 0)
    high = np.maximum(w.max(axis=1, keepdims=True), 0)
    span = high - low
    flat = span <= 0
    span = np.where(flat, np.float32(1), span)
    best_scale = span / top
    best_zero = np.clip(np.rint(-low / best_scale), 0, top)
    best = _error(w, weights, best_scale, best_zero, top)
    for candidate in _CANDIDATES:
        step = span / (top + candidate)
        q = np.clip(np.rint((w - low) / step), 0, top)
        scale, zero = _fit(w, weights, q, step, low, top)
        error = _error(w, weights, scale, zero, top)
        better = error < best
        best = np.where(better, error, best)
        best_scale = np.where(better[:, None], scale, best_scale)
        best_zero = np.where(better[:, None], zero, best_zero)
    q = np.clip(np.rint(w / best_scale + best_zero), 0, top)
    return q.astype(np.uint8), best_scale[:, 0], best_zero[:, 0].astype(np.uint8)


def _fit(
    w: np.ndarray, weights: np.ndarray, q: np.ndarray, step: np.ndarray, low: np.ndarray, top: np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset that fit integers to the weights best, by least squares; the offset made a whole zero point."""
    total = weights.sum(axis=1, keepdims=True)
    q1, q2 = (weights * q).sum(axis=1, keepdims=True), (weights * q * q).sum(axis=1, keepdims=True)
    x, xq = (weights * w).sum(axis=1, keepdims=True), (weights * w * q).sum(axis=1, keepdims=True)
    determinant = total * q2 - q1 * q1
    solvable = determinant > 1e-12 * np.maximum(total * q2, 1e-30)
    safe = np.where(solvable, determinant, np.float32(1))
    scale = np.where(solvable, (total * xq - q1 * x) / safe, step)
    offset = np.where(solvable, (q2 * x - q1 * xq) / safe, low)
    scale = np.where(scale > 0, scale, step)
    zero = np.clip(np.rint(-offset / scale), 0, top)
    # With the zero point whole, the best scale is another one.
    centred = q - zero
    weight = (weights * centred * centred).sum(axis=1, keepdims=True)
    fitted = (weights * w * centred).sum(axis=1, keepdims=True) / np.where(weight > 0, weight, np.float32(1))
    return np.where((weight > 0) & (fitted > 0), fitted, scale), zero


def _error(w: np.ndarray, weights: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: np.float32) -> np.ndarray:
    q = np.clip(np.rint(w / scale + zero), 0, top)
    difference = w - (q - zero) * scale
    return (weights * difference * difference).sum(axis=1)


def quantize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """All weights of MatMul and Gemm, some by settings of their own."""
    spec = Spec(config.bits, config.block_size, symmetric=False)
    own = _own_specs(model, config.customized_weight_config or {}, spec)

    def choose(site: Site) -> Spec:
        return own.get(str(site.node.name).removesuffix("_MatMul"), own.get(str(site.node.name), spec))

    request = Request(
        spec=choose,
        rounder=by_rows(round_searched),
        precision=f"int{config.bits}",
        bits=config.bits,
        method="k-quant",
        accuracy_level=config.accuracy_level,
        exclude=config.nodes_to_exclude,
        more={"block_size": config.block_size, "own_settings": len(own)},
    )
    return quantize_blocks(model, config, context, request)


def _own_specs(model: OnnxModel, given: dict[str, dict[str, Any]], spec: Spec) -> dict[str, Spec]:
    """Specifications of single nodes, each checked."""
    if not given:
        return {}
    graphs = [load_ir(path) for path in components(model).values()]
    for graph in graphs:
        name_nodes(graph)
    result = {}
    for pattern, settings in given.items():
        bits, block = settings.get("bits", spec.bits), settings.get("block_size", spec.block)
        if set(settings) - _KEYS or bits not in (4, 8) or block not in (16, 32, 64, 128, 256):
            raise PassError(
                f"customized_weight_config of {pattern!r} is {settings}",
                "It may have `bits` (4 or 8) and `block_size` (16, 32, 64, 128 or 256).",
            )
        for name in matching(graphs, [pattern], "customized_weight_config"):
            result[name] = replace(spec, bits=bits, block=block)
    return result
