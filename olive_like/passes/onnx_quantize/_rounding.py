"""Rounding blocks of weights to the nearest of 2, 4 or 8 bits, in pieces that fit into the processor's cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from olive_like.passes._grids import Found, Grids

_TILE = 1 << 19  # weights whose grids are found at a time
_CHUNK = 1 << 18  # weights rounded at a time: with what is made of them, what a core's cache holds
_ROWS = 4  # of a tile that are worked on as one

Steps = Callable[[np.ndarray], np.ndarray]
"""From rows of a tile to what, cut to integers and to the highest that the bits have, is stored for them."""

Grid = Callable[[np.ndarray, int, bool], tuple[Steps, np.ndarray, np.ndarray | None]]
"""From blocks that are columns, bits, and whether there are no zero points: how to round, scales, zero points."""


@dataclass
class Blocks:
    """Quantised weights of N outputs in blocks along K, in the layout of MatMulNBits."""

    packed: np.ndarray  # uint8 [N, blocks, block * bits / 8]
    scales: np.ndarray  # float32 [N, blocks]
    zeros: np.ndarray | None  # uint8 [N, blocks], not packed; None: the middle of the range

    def part(self, where: tuple[slice, slice]) -> Blocks:
        """Some blocks of some outputs, in the same memory."""
        return Blocks(self.packed[where], self.scales[where], None if self.zeros is None else self.zeros[where])

    def restored(self, bits: int, columns: slice | np.ndarray = slice(None)) -> np.ndarray:
        """The weights of some outputs as the runtime sees them, [n, blocks * block]."""
        q = unpack(self.packed[columns], bits).astype(np.float32)
        zeros = np.float32(1 << (bits - 1)) if self.zeros is None else self.zeros[columns][..., None]
        return ((q - zeros) * self.scales[columns][..., None]).reshape(q.shape[0], -1)


def nearest(w: np.ndarray, bits: int, symmetric: bool) -> tuple[Steps, np.ndarray, np.ndarray | None]:
    """Each weight to the nearest point of a grid over its block's whole range."""
    top = (1 << bits) - 1
    high, low = w.max(axis=0), w.min(axis=0)
    if symmetric:
        # The value farthest from zero becomes the lowest integer, which has no positive counterpart.
        scales = np.where(high > -low, high, low) / np.float32(-(1 << (bits - 1)))
        zeros = np.float32(1 << (bits - 1))
    else:
        high, low = np.maximum(high, 0), np.minimum(low, 0)
        scales = (high - low) / np.float32(top)
        zeros = np.rint(np.divide(-low, scales, out=np.zeros_like(low), where=scales != 0))
    inverse = 1 / np.where(scales == 0, np.float32(np.inf), scales)
    half_up = zeros + np.float32(0.5)
    # Several rows as one: numpy is quicker along rows that are longer than those of most weights.
    together = tuple(np.tile(row, _ROWS) if np.ndim(row) else row for row in (inverse, half_up))
    # Nothing is below 0 and little above the top, so that fewer bits can be cut off as bytes, which is quicker.
    cut = bits == 8 or not np.isfinite(inverse).all()

    def steps(rows: np.ndarray) -> np.ndarray:
        joined = rows.flags.c_contiguous and rows.size % together[0].size == 0
        factor, offset = together if joined else (inverse, half_up)
        q = (rows.reshape(-1, factor.size) if joined else rows) * factor
        q += offset
        q = q.reshape(rows.shape)
        # A minimum alone takes three times as long as both ends.
        return np.clip(q, 0, np.float32(top + 0.5), out=q) if cut else q

    return steps, scales, None if symmetric else np.asarray(zeros).astype(np.uint8)


def on_grids(search: Callable[[np.ndarray, Grids], Found]) -> Grid:
    """Rounding to grids that a function finds for blocks that are columns."""

    def rounded(w: np.ndarray, bits: int, symmetric: bool) -> tuple[Steps, np.ndarray, np.ndarray]:
        grids = Grids(bits, symmetric=symmetric)
        scales, zeros = search(w, grids)

        def steps(rows: np.ndarray) -> np.ndarray:
            q = rows / scales
            q = np.rint(q, out=q)
            q += zeros
            return np.clip(q, 0, grids.top, out=q)

        return steps, scales, zeros.astype(np.uint8)

    return rounded


def round_columns(
    weights: np.ndarray, bits: int, block: int, symmetric: bool, grid: Grid = nearest, into: Blocks | None = None
) -> Blocks:
    """Round a matrix [K, N] in blocks along K; a last block that is not full is filled up with zeros."""
    rows, columns = weights.shape
    blocks = -(-rows // block)
    result = into or empty(columns, blocks, block, bits, symmetric)
    width = max(1, _TILE // block)
    together = max(1, width // columns)  # blocks of a matrix that is not wide
    for index in range(0, blocks, together):
        piece = weights[index * block : (index + together) * block]
        if len(piece) % block:
            piece = np.concatenate([piece, np.zeros((-len(piece) % block, columns), piece.dtype)])
        count = len(piece) // block
        if count > 1:
            piece = piece.reshape(count, block, columns).swapaxes(0, 1).reshape(block, -1)
        for start in range(0, columns, width):
            tile = result.part(np.s_[start : start + width, index : index + count])
            _round(piece if count > 1 else piece[:, start : start + width], bits, symmetric, grid, tile, "F")
    return result


def round_rows(
    weights: np.ndarray, bits: int, block: int, symmetric: bool, grid: Grid = nearest, into: Blocks | None = None
) -> Blocks:
    """Round a matrix [N, K] in blocks along K."""
    rows, columns = weights.shape
    blocks = -(-columns // block)
    result = into or empty(rows, blocks, block, bits, symmetric)
    height = max(1, _CHUNK // (blocks * block))
    for start in range(0, rows, height):
        piece = weights[start : start + height]
        if columns % block:
            piece = np.pad(piece, ((0, 0), (0, blocks * block - columns)))
        # Turned over: numpy is quicker along long rows than along short blocks.
        piece = np.ascontiguousarray(piece.reshape(-1, block).T)
        _round(piece, bits, symmetric, grid, result.part(np.s_[start : start + height, :]), "C")
    return result


def _round(w: np.ndarray, bits: int, symmetric: bool, grid: Grid, into: Blocks, order: Literal["C", "F"]) -> None:
    """Round blocks that are columns: those of one output after another (C), or the outputs' first ones first (F)."""
    steps, scales, zeros = grid(w, bits, symmetric)
    shape = into.scales.shape
    into.scales[...] = scales.reshape(shape, order=order)
    if zeros is not None and into.zeros is not None:
        into.zeros[...] = zeros.reshape(shape, order=order)
    size = into.packed.shape[2]
    words = _words(w, steps, bits, math.gcd(4, size))
    # Blocks are put together where they are near each other, and then each goes to its place as one.
    whole = np.empty((scales.size, len(words)), words.dtype)
    for index, word in enumerate(words):
        whole[:, index] = word
    blocks = whole.view(f"V{size}").reshape(shape, order=order)
    into.packed.view(blocks.dtype)[..., 0] = blocks


def empty(outputs: int, blocks: int, block: int, bits: int, symmetric: bool) -> Blocks:
    return Blocks(
        np.empty((outputs, blocks, block * bits // 8), np.uint8),
        np.empty((outputs, blocks), np.float32),
        None if symmetric else np.empty((outputs, blocks), np.uint8),
    )


def _words(w: np.ndarray, steps: Steps, bits: int, size: int) -> np.ndarray:
    """Rounded rows, packed into rows of words of so many bytes, the first in the lowest bits."""
    length = 8 * size // bits
    groups = w.reshape(-1, length, w.shape[1])
    each = groups.size // length
    eights = np.empty((length, -(-each // 8)), np.uint64)  # bytes, of which eight are worked on at a time
    parts = eights.view(np.uint8)[:, :each].reshape(length, len(groups), -1)  # the first of all words lie together
    several = max(1, _CHUNK // groups[0].size)
    for start in range(0, len(groups), several):
        some = np.s_[start : start + several]
        np.copyto(parts[:, some].swapaxes(0, 1), steps(groups[some]), casting="unsafe")
    if bits < 8:
        codes = eights.view(np.uint8)
        np.minimum(codes, np.full(codes.shape[1], (1 << bits) - 1, np.uint8), out=codes)
    while bits < 8 and len(eights) > 1:
        low, high = eights[0::2], eights[1::2]
        eights = high << np.uint64(bits)
        eights |= low
        bits *= 2
    parts = eights.view(np.uint8)[:, :each]
    while len(parts) > 1:
        low, high = parts[0::2].astype(f"u{bits // 4}"), parts[1::2].astype(f"u{bits // 4}")
        high *= high.dtype.type(1 << bits)  # shifts are not vectorised
        parts = np.bitwise_or(high, low, out=low)
        bits *= 2
    return parts.reshape(len(groups), -1)


def _pack(q: np.ndarray, bits: int) -> np.ndarray:
    """Neighbours along the last axis into one byte, the first in the lowest bits."""
    if bits == 8:
        return q
    if bits == 4 and q.flags.c_contiguous:
        pairs = q.view("<u2")  # a byte with its neighbour above it: one shift instead of two strided reads
        return (pairs | pairs >> np.uint16(4)).astype(np.uint8)
    step = 8 // bits
    packed = q[..., ::step].copy()
    for offset in range(1, step):
        packed |= q[..., offset::step] << np.uint8(offset * bits)
    return packed


def pack_last(q: np.ndarray, bits: int) -> np.ndarray:
    """Integers packed along their last axis; an odd end is filled up with zeros."""
    step = 8 // bits
    if q.shape[-1] % step:
        q = np.concatenate([q, np.zeros((*q.shape[:-1], step - q.shape[-1] % step), q.dtype)], axis=-1)
    return _pack(q, bits)


def unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    """Bytes to integers along the last axis."""
    if bits == 8:
        return packed
    mask = np.uint8((1 << bits) - 1)
    parts = [(packed >> np.uint8(offset * bits)) & mask for offset in range(8 // bits)]
    return np.stack(parts, axis=-1).reshape(*packed.shape[:-1], -1)
