"""A loss from a user's file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from olive_like.data._user import function, where
from olive_like.errors import PassError
from olive_like.passes.finetune.settings import UserLoss


def load_loss(settings: UserLoss) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The user's loss as a function of logits and labels; what it raises is said with the user's line."""
    made: Any = function(settings.script, settings.name)
    if inspect.isclass(made):
        try:
            made = made(**settings.params)
        except Exception as error:
            raise PassError(f"the loss cannot be made: {where(error, settings.script)}") from error

    def call(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        try:
            value = made(logits, labels)
        except Exception as error:
            raise PassError(
                f"the loss failed at {where(error, settings.script)}",
                f"It is called with logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)}.",
            ) from error
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise PassError(f"{settings.script.name}: {settings.name} must return one number, not {got}")
        if torch.is_grad_enabled() and not value.requires_grad:
            raise PassError(f"{settings.script.name}: what {settings.name} returns does not depend on the logits")
        return value.reshape(())

    return call
