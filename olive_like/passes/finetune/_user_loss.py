"""A loss from a user's file."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from olive_like.data._user import function, where
from olive_like.errors import PassError
from olive_like.passes.finetune.settings import UserLoss


class LoadedLoss:
    """The user's loss; what it raises is said with the user's line."""

    def __init__(self, settings: UserLoss) -> None:
        self.settings = settings
        made: Any = function(settings.script, settings.name)
        if inspect.isclass(made):
            try:
                made = made(**settings.params)
            except Exception as error:
                raise PassError(f"the loss cannot be made: {where(error, settings.script)}") from error
        self._call = made

    @property
    def compares(self) -> bool:
        """Whether it takes two outputs and a label, not logits and labels."""
        target = self._call.forward if isinstance(self._call, torch.nn.Module) else self._call
        needed = [
            parameter
            for parameter in inspect.signature(target).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        return len(needed) == 3

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
        script, name = self.settings.script.name, self.settings.name
        try:
            value = self._call(*tensors)
        except Exception as error:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise PassError(
                f"the loss failed at {where(error, self.settings.script)}",
                f"It is called with tensors of shapes {shapes}.",
            ) from error
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise PassError(f"{script}: {name} must return one number, not {got}")
        if torch.is_grad_enabled() and not value.requires_grad:
            raise PassError(f"{script}: what {name} returns does not depend on the model's output")
        return value.reshape(())
