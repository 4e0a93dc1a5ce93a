"""The GPTQ step for layers that share an input: round column by column, let later columns make up for each error."""

from __future__ import annotations

import torch

from olive_like.errors import PassError
from olive_like.passes.quantize._grid import Quantized, Spec, grouped, natural_order, shrunk

_BLOCK = 128
_STRIP = 192


class Curvature:
    """Second moments of a layer's inputs, summed over the calibration text."""

    def __init__(self, inputs: int, device: str) -> None:
        self.matrix = torch.zeros(inputs, inputs, device=device)
        self.count = 0

    def add(self, rows: torch.Tensor) -> None:
        rows = rows.float()
        # The matrix is symmetric: its upper half is enough, and in strips nearly half of the work is saved.
        for start in range(0, len(self.matrix), _STRIP):
            stop = start + _STRIP
            self.matrix[start:stop, start:].addmm_(rows[:, start:stop].T, rows[:, start:])
        self.count += rows.shape[0]

    def mean(self) -> torch.Tensor:
        upper = self.matrix.triu()
        return (upper + upper.triu(1).T) / max(self.count, 1)


def inverse_factor(matrix: torch.Tensor, damp: float, increment: float, name: str) -> torch.Tensor:
    """Upper Cholesky factor of the inverse curvature; the damping grows until the matrix can be inverted."""
    mean = matrix.diagonal().mean()
    if not torch.isfinite(mean):
        raise PassError(f"the inputs of {name} contain NaN or infinity", "Is the model sound, and its text its own?")
    share = damp
    while share < 1:
        damped = matrix + torch.eye(len(matrix), device=matrix.device) * (share * mean).clamp(min=1e-8)
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
            if not failed and torch.isfinite(upper).all():
                return upper
        share += max(increment, 0.01)
    raise PassError(f"the curvature of {name} cannot be inverted", "Give more, or more varied, calibration text.")


def solve(
    weight: torch.Tensor,
    curvature: torch.Tensor,
    spec: Spec,
    *,
    damp: float,
    increment: float = 0.01,
    order: bool,
    regroup: bool = False,
    search: bool = True,
    name: str = "the layer",
) -> Quantized:
    """Round [out, in] against the curvature of its inputs.

    `order`: heaviest columns first. `regroup`: groups of columns in that order, instead of neighbours;
    `search`: fit each grid to the weighted error instead of to the range.
    """
    inputs = weight.shape[1]
    diagonal = curvature.diagonal().clone()
    perm = torch.argsort(diagonal, descending=True, stable=True) if order else torch.arange(inputs)
    perm = perm.to(weight.device)
    position = natural_order(inputs, spec).to(weight.device)
    laid_out = weight[:, perm] if regroup else weight
    importance = diagonal[perm] if regroup else diagonal
    blocks = grouped(laid_out, spec.group_size)
    scale, zero = shrunk(
        blocks,
        spec,
        grouped(importance.clamp(min=1e-12).unsqueeze(0), spec.group_size),
        steps=16 if search else 0,
        most=0.4,
    )
    g_idx = torch.empty_like(position)
    if regroup:
        g_idx[perm] = position
    else:
        g_idx = position
    factor = inverse_factor(curvature[perm][:, perm], damp, increment, name)
    column_group = g_idx[perm].long()
    codes = _round_columns(weight.T[perm].contiguous(), factor, scale.T[column_group], zero.T[column_group], spec.top)
    back = torch.empty_like(perm)
    back[perm] = torch.arange(inputs, device=perm.device)
    return Quantized(codes[back].T.contiguous(), scale.half(), zero.to(torch.uint8), g_idx, spec)


def _round_columns(
    work: torch.Tensor, factor: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, top: int
) -> torch.Tensor:
    """[in, out] weights -> codes; `work` is used up. Rows of the transposed weight are contiguous columns."""
    inputs = len(work)
    codes = torch.empty(work.shape, dtype=torch.uint8, device=work.device)
    inverse = scale.reciprocal()
    for start in range(0, inputs, _BLOCK):
        stop = min(start + _BLOCK, inputs)
        block = work[start:stop]
        errors = torch.empty_like(block)
        inner = factor[start:stop, start:stop]
        divisors = inner.diagonal().tolist()
        for i in range(stop - start):
            column = block[i]
            at = start + i
            level = torch.mul(column, inverse[at]).round_().add_(zero[at]).clamp_(0, top)
            codes[at] = level
            error = torch.sub(column, level.sub_(zero[at]).mul_(scale[at]), out=errors[i]).div_(divisors[i])
            if i + 1 < stop - start:
                block[i + 1 :].addr_(inner[i, i + 1 :], error, alpha=-1)
        if stop < inputs:
            work[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    return codes
