"""What is exported: each graph's module, example inputs, names and open axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from olive_like.artifacts import Artifact
from olive_like.passes._models import load_tokenizer, tokenizer_folder

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
    text: torch.Tensor | None = None  # ids of ordinary text, to verify with


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


def text_ids(source: Artifact) -> torch.Tensor | None:
    """Ordinary text in a model's own tokens; None without a tokenizer.

    Random tokens are unlike all that a trained model has seen: it may blow up the least rounding.
    """
    if tokenizer_folder(source) is None:
        return None
    ids = load_tokenizer(source)(_TEXT, add_special_tokens=False)["input_ids"]
    return torch.tensor(ids) if len(ids) > _LONG_ENOUGH else None


_LONG_ENOUGH = 110
_TEXT = (
    "The harbour wakes before the town does. Men in heavy coats pull the nets over the side, sort the fish by size "
    "and throw the small ones back, while gulls wait on the wall for what falls between the boats. By seven the first "
    "lorries stand along the quay with their engines running, and someone in the office has put the kettle on. "
    "Prices are called out, repeated, and written on a board: 12 crates of cod, 4 of plaice, 1 of crab. When the sun "
    "comes over the roofs, everything is sold, the stones are washed with sea water, and the boats lie still. "
    "In the afternoon the children come down after school. They count the ropes, guess at the names that salt has "
    "worn off the hulls, and ask the old man at the slipway how far it is to the island. He always says that it "
    "depends on who is rowing."
)


def some_tokens(
    batch: int, length: int, vocabulary: int, seed: int = 0, text: torch.Tensor | None = None
) -> torch.Tensor:
    """Stretches of a text, else ids from the whole vocabulary but the first few, which tend to be special."""
    if text is not None and length < len(text):
        starts = [(17 * row + 31 * seed) % (len(text) - length) for row in range(batch)]
        return torch.stack([text[start : start + length] for start in starts])
    return torch.randint(min(3, vocabulary - 1), vocabulary, (batch, length), generator=generator(seed))
