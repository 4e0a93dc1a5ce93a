"""One layer whose roundings and scales are learnt: its weights as they would be stored, and a step along a gradient."""

from __future__ import annotations

import torch

from olive_like.passes.quantize._grid import Quantized, Spec, grouped, natural_order, stored

_FURTHEST = 0.5  # of a code: a weight can end on either neighbour on the grid
_STRETCH = (0.5, 1.3)


class LearnedLayer:
    """A weight [out, in] on grids whose scale stretches, each weight moved by up to half a code before it is rounded.

    Rounding has no slope of its own: a weight inside its grid counts as moving with what is rounded, one that is cut
    off at the grid's end as not moving. Only the sign of a slope is used, so its size need not be right.
    """

    def __init__(self, weight: torch.Tensor, spec: Spec, scale: torch.Tensor, zero: torch.Tensor) -> None:
        self.spec = spec
        self.inputs = weight.shape[1]
        self._weight = grouped(weight, spec.group_size)
        self._first_scale, self._zero = scale, zero.unsqueeze(-1)
        self._stretch = torch.ones_like(scale)
        self._offset = torch.zeros_like(self._weight)
        self._inside = torch.empty(0)
        self._pull = torch.empty(0)  # how the result moves with its scale

    def dense(self) -> torch.Tensor:
        """The weights that the codes of now stand for."""
        scale = self._scale().unsqueeze(-1)
        exact = self._weight / scale
        levels = torch.add(exact, self._offset).round_()
        cut = torch.clamp(levels, -self._zero, self.spec.top - self._zero)
        self._inside = (levels == cut).to(levels.dtype)
        self._pull = torch.addcmul(cut, exact, self._inside, value=-1)
        return cut.mul_(scale).flatten(1)[:, : self.inputs]

    def step(self, gradient: torch.Tensor, rate: float, scale_rate: float) -> None:
        """Move against the gradient of the last `dense`: offsets by `rate` codes, scales by a share of `scale_rate`."""
        slope = grouped(gradient, self.spec.group_size).float()
        if scale_rate:
            stretch = self._pull.mul_(slope).sum(-1).sign_()
            self._stretch.sub_(stretch, alpha=scale_rate).clamp_(*_STRETCH)
        self._offset.sub_(slope.sign_().mul_(self._inside), alpha=rate).clamp_(-_FURTHEST, _FURTHEST)

    def state(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._offset.clone(), self._stretch.clone()

    def restore(self, state: tuple[torch.Tensor, torch.Tensor]) -> None:
        self._offset, self._stretch = state

    def quantized(self) -> Quantized:
        scale = self._scale()
        levels = (self._weight / scale.unsqueeze(-1)).add_(self._offset).round_()
        codes = levels.add_(self._zero).clamp_(0, self.spec.top).to(torch.uint8).flatten(1)[:, : self.inputs]
        zeros = self._zero.squeeze(-1).to(torch.uint8)
        order = natural_order(self.inputs, self.spec).to(codes.device)
        return Quantized(codes.contiguous(), scale.half(), zeros, order, self.spec)

    def _scale(self) -> torch.Tensor:
        return stored(self._first_scale * self._stretch)
