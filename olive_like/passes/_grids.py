"""Grids of few bits that formats can hold: what a search for the best one starts from, and its blocks tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_TILE = 1 << 17  # weights at a time: with what is made of them, little more than a core's cache holds
LEAST = np.float32(2.0**-60)  # what is divided by is at least this

Found = tuple[np.ndarray, np.ndarray]
"""Scales and whole zero points, one for each block."""


def _same(scale: np.ndarray) -> np.ndarray:
    return scale


@dataclass(frozen=True)
class Grids:
    """The grids to choose from."""

    bits: int
    lowest: int = 0  # of the zero points
    symmetric: bool = False  # the zero point is the middle
    as_stored: Callable[[np.ndarray], np.ndarray] = _same
    """A scale as it will be read back from the file."""

    @property
    def top(self) -> np.float32:
        return np.float32((1 << self.bits) - 1)

    def stored(self, scale: np.ndarray) -> np.ndarray:
        return self.as_stored(np.maximum(scale, LEAST))

    def spanning(self, low: np.ndarray, high: np.ndarray) -> Found:
        """From low <= 0 to high >= 0."""
        if self.symmetric:
            scale = self.stored(np.maximum(-low, high) * (2 / self.top))
            return scale, np.full_like(scale, (self.top + 1) / 2)
        scale = self.stored(np.maximum((high - low) / self.top, high / (self.top - self.lowest)))
        return scale, np.clip(np.rint(-low / scale), self.lowest, self.top)


def by_tiles(blocks: np.ndarray, find: Callable[[np.ndarray], Found]) -> Found:
    """What a function finds for blocks that are columns, some at a time."""
    length, count = blocks.shape
    scales, zeros = np.empty(count, np.float32), np.empty(count, np.float32)
    step = max(1, _TILE // length)
    for start in range(0, count, step):
        tile = np.s_[start : start + step]
        scales[tile], zeros[tile] = find(np.ascontiguousarray(blocks[:, tile]))
    return scales, zeros


def bounds(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The range of each column, zero included."""
    return np.minimum(weights.min(0), 0), np.maximum(weights.max(0), 0)


def levels(steps: np.ndarray, zero: np.ndarray, top: np.float32, out: np.ndarray) -> np.ndarray:
    """The nearest whole numbers that a grid has, counted from its zero point."""
    np.rint(steps, out=out)
    np.maximum(out, -zero, out=out)  # with bounds per block these two are faster than one clip
    return np.minimum(out, top - zero, out=out)
