"""What is exported: each graph's module, example inputs, names and open axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

Axes = dict[str, dict[int, str]]


@dataclass
class Part:
    """One graph: a module from a flat list of tensors to a flat tuple of tensors, and how these are called."""

    name: str
    file: str
    module: torch.nn.Module
    example: dict[str, torch.Tensor]
    outputs: list[str]
    axes: Axes
    samples: Callable[[], list[dict[str, torch.Tensor]]] = list  # inputs to verify with, made when wanted
    dynamo: bool = True  # the exporter that suits it
    attributes: dict[str, Any] = field(default_factory=dict)


class Flat(torch.nn.Module):
    """A module that takes all of its inputs as one list, in the order of their names."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner


@torch.no_grad()
def reference(part: Part, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What PyTorch gives for a part's inputs, by the names of the outputs."""
    return dict(zip(part.outputs, part.module(list(inputs.values())), strict=True))


def generator(seed: int = 0) -> torch.Generator:
    """Random numbers that are the same on every machine."""
    return torch.Generator().manual_seed(seed)


def some_tokens(batch: int, length: int, vocabulary: int, seed: int = 0) -> torch.Tensor:
    """Token ids from the whole vocabulary, without the first few that tend to be special."""
    return torch.randint(min(3, vocabulary - 1), vocabulary, (batch, length), generator=generator(seed))
