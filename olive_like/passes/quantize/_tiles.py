"""Layers rounded in bands of rows, on several cores, a little ahead of who writes them."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from olive_like.errors import PassError
from olive_like.passes.quantize._checkpoint import Checkpoint
from olive_like.passes.quantize._grid import (
    Spec,
    from_range,
    grouped,
    natural_order,
    round_to,
)
from olive_like.passes.quantize._output import LayerError, layout
from olive_like.passes.quantize._pack import pack_rows, pack_zeros
from olive_like.passes.quantize._skeleton import Target, finite

Fit = Callable[[torch.Tensor, Spec], tuple[torch.Tensor, torch.Tensor]]
_APART = 64  # codes between rows, so that words that stand below one another do not compete for a place in the cache
_BAND = 1 << 20  # weights that a thread rounds at a time: with fewer, it waits for Python's lock more than it works
_MEASURED = 1 << 18  # weights of a layer whose error is measured, or all
_AHEAD = 1 << 26  # weights that may be under way at once, at half a byte each or so


@dataclass
class Tile:
    """Some rows of a layer, rounded; what stands in it is gone when its thread rounds the next."""

    codes: torch.Tensor  # uint8 [rows, in]; zeros may follow in each row
    scales: torch.Tensor  # float16 [rows, groups]
    zeros: torch.Tensor  # uint8 [rows, groups]
    error: LayerError


RoundTile = Callable[[torch.Tensor, Spec, str, slice], Tile]
"""Rounds rows as they are stored, and measures the error of some; the name is for what is wrong with them."""


class _Room(threading.local):
    """A thread's memory for what is made of a tile, used again for the next: fresh memory costs time."""

    def __init__(self) -> None:
        self._parts: dict[str, torch.Tensor] = {}

    def take(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        count = math.prod(shape)
        if name not in self._parts or self._parts[name].numel() < count:
            self._parts[name] = torch.empty(count, dtype=dtype)
        return self._parts[name][:count].view(shape)


_room = _Room()


def nearest(rows: torch.Tensor, spec: Spec, name: str, measured: slice) -> Tile:
    """Each weight to the nearest point of a grid over its group's whole range."""
    count, inputs = rows.shape
    groups = spec.groups(inputs)
    width = groups * spec.group_size
    weight = _room.take("weight", count, width)
    weight[:, :inputs] = rows
    if width > inputs:
        weight[:, inputs:] = 0
    blocks = weight.view(count, groups, -1)
    low, high = blocks.amin(-1), blocks.amax(-1)  # each vectorised, which both at once are not
    if not np.isfinite((low + high).numpy()).all():  # what is no number is also the least and the greatest
        finite(rows.float(), name)
    scale, zero = from_range(low.clamp_(max=0), high.clamp_(min=0), spec)
    wide_scale, wide_zero = scale.unsqueeze(-1), zero.unsqueeze(-1)
    before = blocks[measured].clone()
    # in place: less to hold in the cache
    rounded = blocks.div_(wide_scale).round_().add_(wide_zero).clamp_(0, spec.top)
    codes = _room.take("codes", count, inputs + -inputs % 32 + _APART, dtype=torch.uint8)
    # numpy's conversion is vectorised, torch's to this type is not
    np.copyto(codes[:, :inputs].numpy(), weight[:, :inputs].numpy(), casting="unsafe")
    codes[:, inputs:] = 0
    after = (rounded[measured] - wide_zero[measured]).mul_(wide_scale[measured])
    return Tile(codes, scale.half(), zero.to(torch.uint8), _error(before, after, rows, measured))


def fitted(fit: Fit) -> RoundTile:
    """The same with grids that a function finds."""

    def rounded(rows: torch.Tensor, spec: Spec, name: str, measured: slice) -> Tile:
        weight = finite(rows.float(), name)
        scale, zero = fit(grouped(weight, spec.group_size), spec)
        part = round_to(weight, scale, zero, spec)
        error = _error(weight[measured].contiguous(), part.dense()[measured], rows, measured)
        return Tile(part.codes, part.scales, part.zeros, error)

    return rounded


def _error(before: torch.Tensor, after: torch.Tensor, rows: torch.Tensor, measured: slice) -> LayerError:
    """How far the measured rows moved, in several sums: long ones of this type lose digits."""
    count, inputs = rows.shape
    together = max(1, _MEASURED // inputs)
    ends = [len(range(end)[measured]) for end in range(together, count, together)]
    error = LayerError()
    for weight, gap in zip(before.tensor_split(ends), (before - after).tensor_split(ends), strict=True):
        error.add_gap(weight, gap)
    return error


class _Layer:
    """A layer under way: its tensors, filled band by band."""

    def __init__(self, checkpoint: Checkpoint, target: Target, round_tile: RoundTile) -> None:
        if not target.outputs or not target.inputs:
            raise PassError(f"{target.module} has no weights")
        self.checkpoint, self.target, self.round_tile = checkpoint, target, round_tile
        forms = layout(target)
        self.qweight = torch.empty(forms["qweight"][1], dtype=torch.int32)
        self.scales = torch.empty(forms["scales"][1], dtype=torch.float16)
        self.zeros = torch.empty(target.outputs, target.spec.groups(target.inputs), dtype=torch.uint8)
        self.bands: list[Future[LayerError]] = []

    @property
    def weights(self) -> int:
        return self.target.outputs * self.target.inputs

    def start(self, pool: ThreadPoolExecutor) -> None:
        # What is stored the other way round cannot be read by rows: one thread takes the whole of it.
        step = self.target.outputs if self.target.transposed else self._rows(_BAND)
        for start in range(0, self.target.outputs, step):
            self.bands.append(pool.submit(self._band, start, min(start + step, self.target.outputs)))

    def _rows(self, weights: int) -> int:
        return max(1, weights // self.target.inputs)

    @torch.inference_mode()
    def _band(self, start: int, stop: int) -> LayerError:
        error, step = LayerError(), self._rows(_BAND)
        stride = max(1, self.weights // _MEASURED)
        name, spec = f"{self.target.tensor}.weight", self.target.spec
        read = self.checkpoint.read
        rows = read(name).T.contiguous() if self.target.transposed else read(name, start, stop)
        for at in range(start, stop, step):
            end = min(at + step, stop)
            tile = self.round_tile(
                rows[at - start : end - start], spec, self.target.module, slice(-at % stride, None, stride)
            )
            self.qweight[:, at:end] = pack_rows(tile.codes, spec.bits)[:, : len(self.qweight)].T
            self.scales[:, at:end] = tile.scales.T
            self.zeros[at:end] = tile.zeros
            error.join(tile.error)
        return error

    def finish(self) -> tuple[Target, dict[str, torch.Tensor], LayerError]:
        error = LayerError()
        for band in self.bands:  # in their order, so that the sums are the same for any number of threads
            error.join(band.result())
        spec = self.target.spec
        parts = {
            "qweight": self.qweight,
            "qzeros": pack_zeros(self.zeros, spec.bits),
            "scales": self.scales,
            "g_idx": natural_order(self.target.inputs, spec),
        }
        return self.target, parts, error


def round_layers(
    checkpoint: Checkpoint, targets: Iterable[Target], round_tile: RoundTile, threads: int
) -> Iterator[tuple[Target, dict[str, torch.Tensor], LayerError]]:
    """Layer after layer in the GPTQ format, with how far it moved; the next ones are worked on meanwhile."""
    under_way: deque[_Layer] = deque()
    weights = 0  # of all that are under way
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for target in targets:
                layer = _Layer(checkpoint, target, round_tile)
                while under_way and weights + layer.weights > _AHEAD:
                    weights -= under_way[0].weights
                    yield under_way.popleft().finish()
                layer.start(pool)
                under_way.append(layer)
                weights += layer.weights
            while under_way:
                yield under_way.popleft().finish()
        finally:
            for layer in under_way:
                for band in layer.bands:
                    band.cancel()
