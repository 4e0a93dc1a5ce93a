"""What the calibrated passes do alike on one block: statistics of inputs, and what is stored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from olive_like.passes.quantize._gptq_solve import Curvature
from olive_like.passes.quantize._grid import Quantized
from olive_like.passes.quantize._output import packed
from olive_like.passes.quantize._skeleton import Skeleton
from olive_like.passes.quantize._stream import BlockResult, Blocks

Done = dict[str, tuple[Quantized, dict[str, float]]]


class FirstOf(Blocks):
    """The same blocks with the activations of the first sequences alone."""

    def __init__(self, blocks: Blocks, sequences: int) -> None:
        self.__dict__.update(blocks.__dict__)
        self.hidden = blocks.hidden[:sequences]


def moments_of(
    blocks: Blocks, block: nn.Module, index: int, names: list[str]
) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
    """Layers that share an input, and the second moments of that input over the calibration text."""
    moments: dict[tuple[str, ...], Curvature] = {}

    def seen(group: tuple[str, ...], rows: torch.Tensor) -> None:
        if group not in moments:
            moments[group] = Curvature(rows.shape[1], blocks.device)
        moments[group].add(rows)

    if names:
        blocks.watch(block, index, names, seen)
    for group in list(moments):
        yield group, moments.pop(group).mean()


@dataclass
class Statistics:
    """What is known of the input that some layers share."""

    curvature: Curvature
    total: torch.Tensor  # sum of absolute values per channel
    largest: torch.Tensor  # greatest absolute value per channel

    @property
    def mean(self) -> torch.Tensor:
        return self.total / max(self.curvature.count, 1)


def collect(blocks: Blocks, block: nn.Module, index: int, names: list[str]) -> dict[str, Statistics]:
    """Layer -> statistics of its input; layers that share an input share them."""
    found: dict[str, Statistics] = {}

    def seen(group: tuple[str, ...], rows: torch.Tensor) -> None:
        if group[0] not in found:
            zeros = torch.zeros(rows.shape[1], device=rows.device, dtype=torch.float32)
            shared = Statistics(Curvature(rows.shape[1], blocks.device), zeros, zeros.clone())
            found.update(dict.fromkeys(group, shared))
        statistics = found[group[0]]
        statistics.curvature.add(rows)
        size = rows.abs().float()
        statistics.total += size.sum(0)
        torch.maximum(statistics.largest, size.amax(0), out=statistics.largest)

    blocks.watch(block, index, names, seen)
    return found


def result(
    blocks: Blocks, block: nn.Module, index: int, skeleton: Skeleton, done: Done, changed: set[str]
) -> BlockResult:
    """The tensors of a block: rounded layers packed, changed modules as they are now, the rest as it was."""
    tensors: dict[str, torch.Tensor] = {}
    for inner, name in blocks.tensors(index).items():
        layer, _, part = inner.rpartition(".")
        if layer in done and part == "weight":
            parts = packed(done[layer][0]).items()
            tensors |= {f"{name.removesuffix('.weight')}.{key}": tensor for key, tensor in parts}
        elif layer in changed:
            kept = skeleton.checkpoint.entries[name].dtype
            tensors[name] = block.get_parameter(inner).to(kept)
        else:
            tensors[name] = skeleton.checkpoint.read(name)
    prefix = f"{blocks.name}.{index}."
    return BlockResult(tensors, {prefix + name: error for name, (_, error) in done.items()})


def store_as_written(block: nn.Module, skeleton: Skeleton, blocks: Blocks, index: int, changed: set[str]) -> None:
    """Give changed parameters the precision that they are stored with, so that later blocks see the real model."""
    for inner, name in blocks.tensors(index).items():
        if inner.rpartition(".")[0] in changed:
            parameter: Any = block.get_parameter(inner)
            parameter.copy_(parameter.to(skeleton.checkpoint.entries[name].dtype).float())
