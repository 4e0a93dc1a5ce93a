"""Half-quadratic quantisation: the error is split into outliers, which are forgiven, and a rest, which is fitted."""

from __future__ import annotations

import numpy as np

from olive_like.passes._grids import LEAST, Found, Grids, bounds, by_tiles, levels

_BETA = np.float32(5.0)  # for errors in steps of the grid, so that the size of the weights plays no part
_BETA_GROWTH = np.float32(1.05)
_SMALL = np.float32(1e-6)


def search(blocks: np.ndarray, grids: Grids, iterations: int, norm: float) -> Found:
    """Scales and zero points of blocks [length, count], each a column.

    Zero points are whole, as formats and fast kernels want them, so the scale moves with them. It stays so wide that
    no weight lies more than half a step beyond the grid: without this, the method forgives the largest weights, which
    a model needs most.
    """
    return by_tiles(blocks, lambda tile: _fit(tile, grids, iterations, np.float32(norm)))


def _fit(weights: np.ndarray, grids: Grids, iterations: int, norm: np.float32) -> Found:
    low, high = bounds(weights)
    scale, zero = best_scale, best_zero = grids.spanning(low, high)
    best = np.full_like(scale, np.inf)
    beta = _BETA
    level, gap, size, power = (np.empty_like(weights) for _ in range(4))
    for last in [False] * iterations + [True]:
        steps = np.multiply(weights, 1 / scale, out=gap)
        levels(steps, zero, grids.top, out=level)
        np.subtract(steps, level, out=gap)
        np.maximum(np.abs(gap, out=size), _SMALL, out=size)
        np.power(size, norm - 1, out=power)
        error = np.einsum("ij,ij->j", size, power) * scale**norm
        better = error < best
        best = np.minimum(error, best)
        best_scale, best_zero = np.where(better, scale, best_scale), np.where(better, zero, best_zero)
        if last:
            break
        size -= np.multiply(power, 1 / beta, out=power)
        np.copysign(np.maximum(size, 0, out=size), gap, out=size)
        gap -= size  # what is left when outliers are taken out
        gap += level
        scale, zero = _refitted(gap, level, scale, zero, grids)
        reach = np.maximum(high / (grids.top - zero + np.float32(0.5)), -low / (zero + np.float32(0.5)))
        scale = grids.stored(np.maximum(scale, reach))
        beta *= _BETA_GROWTH
    return best_scale, best_zero


def _refitted(target: np.ndarray, level: np.ndarray, scale: np.ndarray, zero: np.ndarray, grids: Grids) -> Found:
    """The grid on which levels that are counted from the zero point fit a target in steps of the scale best."""
    count = np.float32(len(level))
    second, both = np.einsum("ij,ij->j", level, level), np.einsum("ij,ij->j", level, target)
    if not grids.symmetric:
        first, total = level.sum(0), target.sum(0)
        slope = (count * both - first * total) / np.maximum(count * second - first * first, LEAST)
        shift = (first - total / np.where(slope > 0, slope, np.inf)) / count
        moved = np.clip(np.rint(zero + np.where(slope > 0, shift, 0)), grids.lowest, grids.top)
        shift, zero = moved - zero, moved
        second = second - shift * (2 * first - shift * count)
        both = both - shift * total
    fits = (second > 0) & (both > 0)
    return scale * np.where(fits, both / np.maximum(second, LEAST), 1), zero
