"""Grids for groups of weights: how scale and zero point are found, and what rounding to them leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from olive_like.passes import _hqq, _k_quant
from olive_like.passes._grids import Found, Grids

# Scales are stored as float16, so the grid is fitted with the rounded ones.
_SMALLEST = 2.0**-24


@dataclass(frozen=True)
class Spec:
    """How one layer is rounded."""

    bits: int
    group_size: int  # of this layer: from 1 to its inputs
    sym: bool

    @property
    def top(self) -> int:
        return 2**self.bits - 1

    def groups(self, inputs: int) -> int:
        return -(-inputs // self.group_size)


@dataclass
class Quantized:
    """One rounded layer: [out, in] codes on grids per group."""

    codes: torch.Tensor  # uint8 [out, in]
    scales: torch.Tensor  # float16 [out, groups]
    zeros: torch.Tensor  # uint8 [out, groups], never 0
    g_idx: torch.Tensor  # int32 [in]
    spec: Spec

    def dense(self) -> torch.Tensor:
        """The weights [out, in] that the codes stand for."""
        rows, inputs = self.codes.shape
        if not torch.equal(self.g_idx.cpu(), natural_order(inputs, self.spec)):
            return dequantize(self.codes, self.scales, self.zeros, self.g_idx)
        # Neighbours share a grid: no need to look it up for every weight, which takes most of the time.
        blocks = grouped(self.codes, self.spec.group_size).float()
        blocks.sub_(self.zeros.float().unsqueeze(-1)).mul_(self.scales.float().unsqueeze(-1))
        return blocks.view(rows, -1)[:, :inputs]


def dequantize(codes: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, g_idx: torch.Tensor) -> torch.Tensor:
    index = g_idx.long()
    return (codes.float() - zeros.float()[:, index]) * scales.float()[:, index]


def natural_order(inputs: int, spec: Spec) -> torch.Tensor:
    return torch.arange(inputs, dtype=torch.int32) // spec.group_size


def grouped(weight: torch.Tensor, group_size: int) -> torch.Tensor:
    """[out, in] -> [out, groups, group_size]; a smaller last group is filled with zeros, which every grid has."""
    rows, inputs = weight.shape
    if inputs % group_size:
        weight = torch.nn.functional.pad(weight, (0, group_size - inputs % group_size))
    return weight.view(rows, -1, group_size)


def stored(scale: torch.Tensor) -> torch.Tensor:
    return scale.clamp_(min=_SMALLEST).half().float()


def from_range(low: torch.Tensor, high: torch.Tensor, spec: Spec) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point of grids that span [low, high], low <= 0 <= high."""
    top = spec.top
    if spec.sym:
        scale = stored(torch.maximum(-low, high) * (2 / top))
        return scale, torch.full_like(scale, (top + 1) // 2)
    # The storage format keeps zero points less one, so 0 is not one of them: where nothing is negative the
    # grid begins one step below zero.
    scale = torch.maximum((high - low) / top, high / (top - 1))
    scale = stored(scale)
    return scale, (-low / scale).round_().clamp_(1, top)


def minmax(weight: torch.Tensor, spec: Spec) -> tuple[torch.Tensor, torch.Tensor]:
    """Grids over the whole range of each group of [..., group_size]."""
    low, high = weight.amin(-1), weight.amax(-1)  # each vectorised, which both at once are not
    return from_range(low.clamp_(max=0), high.clamp_(min=0), spec)


def fake(weight: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, top: int) -> torch.Tensor:
    """Weights [..., group_size] rounded to the grid."""
    zero = zero.unsqueeze(-1)
    scale = scale.unsqueeze(-1)
    return (weight / scale).round_().add_(zero).clamp_(0, top).sub_(zero).mul_(scale)


def shrunk(
    weight: torch.Tensor,
    spec: Spec,
    importance: torch.Tensor | None = None,
    steps: int = 20,
    most: float = 0.5,
    norm: float = 2.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Grids over a range cut back as far as that lowers the error, each input weighed by its importance."""
    low, high = weight.amin(-1).clamp_(max=0), weight.amax(-1).clamp_(min=0)
    best_scale, best_zero = from_range(low, high, spec)
    best = _error(weight, best_scale, best_zero, spec.top, importance, norm)
    for step in range(1, steps + 1):
        keep = 1 - most * step / steps
        scale, zero = from_range(low * keep, high * keep, spec)
        error = _error(weight, scale, zero, spec.top, importance, norm)
        better = error < best
        best = torch.where(better, error, best)
        best_scale = torch.where(better, scale, best_scale)
        best_zero = torch.where(better, zero, best_zero)
    return best_scale, best_zero


def _error(
    weight: torch.Tensor,
    scale: torch.Tensor,
    zero: torch.Tensor,
    top: int,
    importance: torch.Tensor | None,
    norm: float,
) -> torch.Tensor:
    gap = fake(weight, scale, zero, top).sub_(weight)
    gap = gap.square_() if norm == 2.0 else gap.abs_().pow_(norm)
    return (gap if importance is None else gap.mul_(importance)).sum(-1)


def kquant(weight: torch.Tensor, spec: Spec) -> tuple[torch.Tensor, torch.Tensor]:
    """Grids fitted to groups of [..., group_size] by weighted least squares."""
    return _as_groups(_k_quant.search(_as_columns(weight), _grids(spec)), weight)


def hqq(weight: torch.Tensor, spec: Spec, iterations: int, norm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Grids fitted to groups of [..., group_size] half-quadratically."""
    return _as_groups(_hqq.search(_as_columns(weight), _grids(spec), iterations, norm), weight)


def _grids(spec: Spec) -> Grids:
    return Grids(
        spec.bits, 1, spec.sym, lambda scale: np.maximum(scale, _SMALLEST).astype(np.float16).astype(scale.dtype)
    )


def _as_columns(weight: torch.Tensor) -> np.ndarray:
    array: np.ndarray = weight.reshape(-1, weight.shape[-1]).numpy()
    return array.T


def _as_groups(found: Found, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale, zero = (torch.from_numpy(part).view(weight.shape[:-1]) for part in found)
    return scale, zero


def round_to(weight: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, spec: Spec) -> Quantized:
    """Round [out, in] to the grids [out, groups]."""
    rows, inputs = weight.shape
    blocks = grouped(weight, spec.group_size)
    codes = (blocks / scale.unsqueeze(-1)).round_().add_(zero.unsqueeze(-1)).clamp_(0, spec.top).to(torch.uint8)
    codes = codes.view(rows, -1)[:, :inputs]
    return Quantized(codes, scale.half(), zero.to(torch.uint8), natural_order(inputs, spec), spec)


def joined(parts: list[Quantized]) -> Quantized:
    """Pieces of a layer's rows as one."""
    return Quantized(
        torch.cat([part.codes for part in parts]),
        torch.cat([part.scales for part in parts]),
        torch.cat([part.zeros for part in parts]),
        parts[0].g_idx,
        parts[0].spec,
    )
