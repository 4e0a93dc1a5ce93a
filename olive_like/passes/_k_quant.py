"""K-quant: every block's grid fitted to its weights by least squares, from several starts; large weights weigh more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_STARTS = np.linspace(-2.0, 2.0, 5, dtype=np.float32)  # steps over a block's range, more or less than the grid has
_REFITS = 2
_TILE = 1 << 17  # weights at a time: with what is made of them, what a core's cache holds
_LEAST = np.float32(2.0**-60)  # what a scale is at least, so that it can be divided by

Store = Callable[[np.ndarray], np.ndarray]
"""A scale as it will be read back from the file."""


def search(
    blocks: np.ndarray, bits: int, *, lowest: int = 0, symmetric: bool = False, store: Store | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scales and whole zero points, from `lowest` on, of blocks [length, count], each a column."""
    length, count = blocks.shape
    scales, zeros = np.empty(count, np.float32), np.empty(count, np.float32)
    step = max(1, _TILE // length)
    for start in range(0, count, step):
        tile = np.s_[start : start + step]
        fit = _Fit(np.ascontiguousarray(blocks[:, tile]), bits, lowest, symmetric, store or _same)
        scales[tile], zeros[tile] = fit.best()
    return scales, zeros


def _same(scale: np.ndarray) -> np.ndarray:
    return scale


class _Fit:
    """Some blocks, and the best grids for them so far."""

    def __init__(self, weights: np.ndarray, bits: int, lowest: int, symmetric: bool, store: Store) -> None:
        self.weights, self.symmetric, self.store = weights, symmetric, store
        self.lowest, self.top = np.float32(lowest), np.float32((1 << bits) - 1)
        squares = np.einsum("ij,ij->j", weights, weights)
        self.importance = np.abs(weights)
        self.importance += np.sqrt(squares / np.float32(len(weights)))
        self.levels, self.scratch = np.empty_like(weights), np.empty_like(weights)
        self.weighted = self.importance * weights
        self.total, self.sum = self.importance.sum(0), self.weighted.sum(0)
        self.square = np.einsum("ij,ij->j", self.weighted, weights)
        self.low, self.high = np.minimum(weights.min(0), 0), np.maximum(weights.max(0), 0)

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        scale, zero = self._spanning(np.float32(1))
        error = np.full_like(scale, np.inf)
        for start in _STARTS:
            scale, zero, error = self._better(self._spanning(1 + start / self.top), (scale, zero, error))
        for _ in range(_REFITS):
            scale, zero, error = self._better((scale, zero), (scale, zero, error))
        return scale, zero

    def _spanning(self, factor: np.float32) -> tuple[np.ndarray, np.ndarray]:
        """Grids over the blocks' whole range, divided by a factor."""
        low, high, top = self.low / factor, self.high / factor, self.top
        if self.symmetric:
            scale = self._stored(np.maximum(-low, high) * (2 / top))
            return scale, np.full_like(scale, (top + 1) / 2)
        scale = self._stored(np.maximum((high - low) / top, high / (top - self.lowest)))
        return scale, np.clip(np.rint(-low / scale), self.lowest, top)

    def _stored(self, scale: np.ndarray) -> np.ndarray:
        return self.store(np.maximum(scale, _LEAST))

    def _better(
        self, start: tuple[np.ndarray, np.ndarray], best: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The weights rounded to a grid, and the grid fitted to what came out, where that is better than the best."""
        fitted = self._fitted(*start)
        better = fitted[2] < best[2]
        scale, zero, error = (np.where(better, new, old) for new, old in zip(fitted, best, strict=True))
        return scale, zero, error

    def _fitted(self, start: np.ndarray, zero: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        levels = np.multiply(self.weights, 1 / start, out=self.levels)  # counted from the zero point
        np.rint(levels, out=levels)
        np.maximum(levels, -zero, out=levels)  # with bounds per block these two are faster than one clip
        np.minimum(levels, self.top - zero, out=levels)
        by_weight = np.einsum("ij,ij->j", self.weighted, levels)
        weighted = np.multiply(self.importance, levels, out=self.scratch)
        first, second = weighted.sum(0), np.einsum("ij,ij->j", weighted, levels)
        if not self.symmetric:
            spread = self.total * second - first * first
            slope = (self.total * by_weight - first * self.sum) / np.maximum(spread, _LEAST)
            shift = (first - self.sum / np.where(slope > 0, slope, np.inf)) / np.maximum(self.total, _LEAST)
            moved = np.clip(np.rint(zero + np.where(slope > 0, shift, 0)), self.lowest, self.top)
            shift, zero = moved - zero, moved
            second = second - shift * (2 * first - shift * self.total)
            by_weight = by_weight - shift * self.sum
        scale = self._stored(np.where(second > 0, by_weight / np.maximum(second, _LEAST), start))
        return scale, zero, self.square - scale * (2 * by_weight - scale * second)
