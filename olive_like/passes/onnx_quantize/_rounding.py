"""Rounding blocks of weights to the nearest of 2, 4 or 8 bits, in pieces that fit into the processor's cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from olive_like.passes._grids import Found, Grids

_TILE = 1 << 17  # weights worked on at a time

Grid = Callable[[np.ndarray, int, int, bool], tuple[np.ndarray, np.ndarray, np.ndarray | None]]
"""From blocks that run along an axis, bits, and whether there are no zero points: integers, scales, zero points."""


@dataclass
class Blocks:
    """Quantised weights of N outputs in blocks along K, in the layout of MatMulNBits."""

    packed: np.ndarray  # uint8 [N, blocks, block * bits / 8]
    scales: np.ndarray  # float32 [N, blocks]
    zeros: np.ndarray | None  # uint8 [N, blocks], not packed; None: the middle of the range

    def restored(self, bits: int, columns: slice | np.ndarray = slice(None)) -> np.ndarray:
        """The weights of some outputs as the runtime sees them, [n, blocks * block]."""
        q = unpack(self.packed[columns], bits).astype(np.float32)
        zeros = np.float32(1 << (bits - 1)) if self.zeros is None else self.zeros[columns][..., None]
        return ((q - zeros) * self.scales[columns][..., None]).reshape(q.shape[0], -1)


def nearest(w: np.ndarray, axis: int, bits: int, symmetric: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Integers, scales and zero points of blocks that run along an axis."""
    top = (1 << bits) - 1
    high, low = w.max(axis=axis), w.min(axis=axis)
    if symmetric:
        # The value farthest from zero becomes the lowest integer, which has no positive counterpart.
        scales = np.where(high > -low, high, low) / np.float32(-(1 << (bits - 1)))
        zeros = np.float32(1 << (bits - 1))
    else:
        high, low = np.maximum(high, 0), np.minimum(low, 0)
        scales = (high - low) / np.float32(top)
        zeros = np.rint(np.divide(-low, scales, out=np.zeros_like(low), where=scales != 0))
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    q = w * np.expand_dims(inverse, axis)
    q += np.expand_dims(zeros + np.float32(0.5), axis) if not symmetric else zeros + np.float32(0.5)
    np.minimum(q, np.float32(top + 0.5), out=q)  # nothing is below 0; the cast cuts what is behind the point
    return q.astype(np.uint8), scales, None if symmetric else np.asarray(zeros).astype(np.uint8)


def on_grids(search: Callable[[np.ndarray, Grids], Found]) -> Grid:
    """Rounding to grids that a function finds for blocks that are columns."""

    def rounded(w: np.ndarray, axis: int, bits: int, symmetric: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        grids = Grids(bits, symmetric=symmetric)
        scales, zeros = search(w if axis == 0 else w.T, grids)
        q = w / np.expand_dims(scales, axis)
        q = np.rint(q, out=q)
        q += np.expand_dims(zeros, axis)
        np.clip(q, 0, grids.top, out=q)
        return q.astype(np.uint8), scales, zeros.astype(np.uint8)

    return rounded


def round_columns(weights: np.ndarray, bits: int, block: int, symmetric: bool, grid: Grid = nearest) -> Blocks:
    """Round a matrix [K, N] in blocks along K; a last block that is not full is filled up with zeros."""
    rows, columns = weights.shape
    blocks = -(-rows // block)
    result = _empty(columns, blocks, block, bits, symmetric)
    width = max(1, _TILE // block)
    together = max(1, width // columns)  # blocks of a matrix that is not wide
    for index in range(0, blocks, together):
        piece = weights[index * block : (index + together) * block]
        if len(piece) % block:
            piece = np.concatenate([piece, np.zeros((-len(piece) % block, columns), piece.dtype)])
        count = len(piece) // block
        if count > 1:
            piece = piece.reshape(count, block, columns).swapaxes(0, 1).reshape(block, -1)
        where = np.s_[index : index + count]
        for start in range(0, columns, width):
            tile = np.s_[start : start + width]
            q, scales, zeros = grid(piece if count > 1 else piece[:, tile], 0, bits, symmetric)
            result.scales[tile, where] = scales.reshape(count, -1).T
            if zeros is not None and result.zeros is not None:
                result.zeros[tile, where] = zeros.reshape(count, -1).T
            words = _words(_pack(q, bits, 0))
            result.packed.view(words.dtype)[tile, where] = words.reshape(len(words), count, -1).T
    return result


def round_rows(weights: np.ndarray, bits: int, block: int, symmetric: bool, grid: Grid = nearest) -> Blocks:
    """Round a matrix [N, K] in blocks along K."""
    rows, columns = weights.shape
    blocks = -(-columns // block)
    result = _empty(rows, blocks, block, bits, symmetric)
    height = max(1, _TILE // (blocks * block))
    for start in range(0, rows, height):
        tile = np.s_[start : start + height]
        piece = weights[tile]
        if columns % block:
            piece = np.pad(piece, ((0, 0), (0, blocks * block - columns)))
        piece = piece.reshape(len(piece) * blocks, block)
        q, scales, zeros = grid(piece, 1, bits, symmetric)
        result.scales[tile] = scales.reshape(-1, blocks)
        if zeros is not None and result.zeros is not None:
            result.zeros[tile] = zeros.reshape(-1, blocks)
        result.packed[tile] = _pack(q, bits, 1).reshape(-1, blocks, block * bits // 8)
    return result


def _empty(outputs: int, blocks: int, block: int, bits: int, symmetric: bool) -> Blocks:
    return Blocks(
        np.empty((outputs, blocks, block * bits // 8), np.uint8),
        np.empty((outputs, blocks), np.float32),
        None if symmetric else np.empty((outputs, blocks), np.uint8),
    )


def _pack(q: np.ndarray, bits: int, axis: int) -> np.ndarray:
    """Neighbours along an axis into one byte, the first in the lowest bits."""
    if bits == 8:
        return q
    if bits == 4 and axis == q.ndim - 1 and q.flags.c_contiguous:
        pairs = q.view("<u2")  # a byte with its neighbour above it: one shift instead of two strided reads
        return (pairs | pairs >> np.uint16(4)).astype(np.uint8)
    step = 8 // bits
    parts = [q[(slice(None),) * axis + (slice(offset, None, step),)] for offset in range(step)]
    packed = parts[0].copy()
    for offset, part in enumerate(parts[1:], 1):
        packed |= part << np.uint8(offset * bits)
    return packed


def _words(packed: np.ndarray) -> np.ndarray:
    """Up to eight rows of bytes as one row of words, the first in the lowest bits: turned eight times as fast."""
    for bits, wider in ((8, np.uint16), (16, np.uint32), (32, np.uint64)):
        if len(packed) % 2:
            break
        low, high = packed[0::2].astype(wider), packed[1::2].astype(wider)
        high <<= wider(bits)
        low |= high
        packed = low
    return packed


def pack_last(q: np.ndarray, bits: int) -> np.ndarray:
    """Integers packed along their last axis; an odd end is filled up with zeros."""
    step = 8 // bits
    if q.shape[-1] % step:
        q = np.concatenate([q, np.zeros((*q.shape[:-1], step - q.shape[-1] % step), q.dtype)], axis=-1)
    return _pack(q, bits, q.ndim - 1)


def unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    """Bytes to integers along the last axis."""
    if bits == 8:
        return packed
    mask = np.uint8((1 << bits) - 1)
    parts = [(packed >> np.uint8(offset * bits)) & mask for offset in range(8 // bits)]
    return np.stack(parts, axis=-1).reshape(*packed.shape[:-1], -1)
