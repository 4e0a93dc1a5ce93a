"""Which weights of a layer to set to zero, and how the others make up for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Pattern:
    """Where zeros may stand: a share of all weights, or `zeros` of each `period` neighbours of a row."""

    share: float
    zeros: int = 0
    period: int = 1

    @classmethod
    def of(cls, sparsity: float | list[int]) -> Pattern:
        if isinstance(sparsity, list):
            zeros, period = sparsity
            return cls(zeros / period, zeros, period)
        return cls(sparsity)


def prune(weight: torch.Tensor, factor: torch.Tensor, pattern: Pattern, blocksize: int = 128) -> torch.Tensor:
    """[out, in] weights with zeros, chosen for the least error of the outputs; `factor`: of the inverse curvature.

    Columns are settled from first to last. What a zero takes away is made up for by the columns after it, and
    zeros are chosen among weights that have already made up for those before them.
    """
    inputs, rows = weight.shape[1], weight.shape[0]
    work = weight.T.contiguous()
    size = -(-blocksize // pattern.period) * pattern.period
    for start in range(0, inputs, size):
        stop = min(start + size, inputs)
        block, inner = work[start:stop], factor[start:stop, start:stop]
        divisors = inner.diagonal().unsqueeze(1)
        errors = torch.empty_like(block)
        if pattern.zeros:
            out = torch.zeros_like(block, dtype=torch.bool)
        else:
            # Counted from the beginning, so that what rounding leaves in one block is made good in the next.
            count = round(pattern.share * stop * rows) - round(pattern.share * start * rows)
            out = _smallest(block / divisors, count)
        for i in range(stop - start):
            if pattern.zeros and i % pattern.period == 0 and i + pattern.period <= stop - start:
                among = slice(i, i + pattern.period)
                scores = (block[among] / divisors[among]).abs_()
                out[among].scatter_(0, scores.argsort(dim=0, stable=True)[: pattern.zeros], True)
            error = torch.mul(block[i], out[i], out=errors[i]).div_(divisors[i])
            if i + 1 < stop - start:
                block[i + 1 :].addr_(inner[i, i + 1 :], error, alpha=-1)
        block.masked_fill_(out, 0)
        if stop < inputs:
            work[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    return work.T.contiguous()


def _smallest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Where the `count` smallest in size are."""
    found = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    found[scores.abs().flatten().topk(count, largest=False, sorted=False).indices] = True
    return found.view(scores.shape)
