"""K-quant: every block's grid fitted to its weights by least squares, from several starts; large weights weigh more."""

from __future__ import annotations

import numpy as np

from olive_like.passes._grids import LEAST, Found, Grids, bounds, by_tiles, levels

_STARTS = np.linspace(-2.0, 2.0, 5, dtype=np.float32)  # steps over a block's range, more or less than the grid has
_REFITS = 2


def search(blocks: np.ndarray, grids: Grids) -> Found:
    """Scales and zero points of blocks [length, count], each a column."""
    return by_tiles(blocks, lambda tile: _Fit(tile, grids).best())


class _Fit:
    """Some blocks, and sums over them that every fit needs."""

    def __init__(self, weights: np.ndarray, grids: Grids) -> None:
        self.weights, self.grids = weights, grids
        self.levels, self.scratch = np.empty_like(weights), np.empty_like(weights)
        self.importance = np.abs(weights)
        self.importance += np.sqrt(np.einsum("ij,ij->j", weights, weights) / np.float32(len(weights)))
        self.weighted = self.importance * weights
        self.total, self.sum = self.importance.sum(0), self.weighted.sum(0)
        self.square = np.einsum("ij,ij->j", self.weighted, weights)

    def best(self) -> Found:
        low, high = bounds(self.weights)
        scale, zero = self.grids.spanning(low, high)
        error = np.full_like(scale, np.inf)
        for index in range(len(_STARTS) + _REFITS):
            if index < len(_STARTS):
                factor = 1 + _STARTS[index] / self.grids.top
                fitted = self._fitted(*self.grids.spanning(low / factor, high / factor))
            else:
                fitted = self._fitted(scale, zero)
            better = fitted[2] < error
            scale, zero, error = (
                np.where(better, new, old) for new, old in zip(fitted, (scale, zero, error), strict=True)
            )
        return scale, zero

    def _fitted(self, start: np.ndarray, zero: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The weights rounded to a grid, the grid fitted to what came out, and what is lost then."""
        steps = np.multiply(self.weights, 1 / start, out=self.levels)
        level = levels(steps, zero, self.grids.top, out=steps)
        by_weight = np.einsum("ij,ij->j", self.weighted, level)
        weighted = np.multiply(self.importance, level, out=self.scratch)
        first, second = weighted.sum(0), np.einsum("ij,ij->j", weighted, level)
        if not self.grids.symmetric:
            spread = self.total * second - first * first
            slope = (self.total * by_weight - first * self.sum) / np.maximum(spread, LEAST)
            shift = (first - self.sum / np.where(slope > 0, slope, np.inf)) / np.maximum(self.total, LEAST)
            moved = np.clip(np.rint(zero + np.where(slope > 0, shift, 0)), self.grids.lowest, self.grids.top)
            shift, zero = moved - zero, moved
            second = second - shift * (2 * first - shift * self.total)
            by_weight = by_weight - shift * self.sum
        fits = (second > 0) & (by_weight > 0)
        scale = self.grids.stored(np.where(fits, by_weight / np.maximum(second, LEAST), start))
        return scale, zero, self.square - scale * (2 * by_weight - scale * second)
