"""Learned rounding: block by block, by signed gradient descent on what the block gives out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context
from olive_like.passes.quantize._blockwork import Done, FirstOf, moments_of, result
from olive_like.passes.quantize._calibrate import calibration_tokens
from olive_like.passes.quantize._finish import finish
from olive_like.passes.quantize._gptq import Options, as_rows, measure, round_head, set_weight, weight_of
from olive_like.passes.quantize._grid import grouped, minmax, shrunk
from olive_like.passes.quantize._journal import BlockResult
from olive_like.passes.quantize._learned_layer import LearnedLayer
from olive_like.passes.quantize._request import read_request
from olive_like.passes.quantize._skeleton import Skeleton, Target, load_skeleton
from olive_like.passes.quantize._stream import Blocks, go_through

_MOMENT_TOKENS = 16384  # of the calibration text, for the grids to start from


def run(model: HfModel, config: Any, context: Context) -> HfModel:
    torch.set_num_threads(context.threads)
    skeleton = load_skeleton(model.path)
    request = read_request(model, config, skeleton, context)
    tokens = calibration_tokens(model, context)
    with torch.no_grad():
        # What a block is taught is the output of the model as it was, on what the rounded blocks before it give:
        # so it also makes up for their errors.
        blocks = Blocks(skeleton, tokens, context.device, reference=True)
        work = _Work(skeleton, request.targets, config, context)
        shards = go_through(blocks, work, context)
        extra = round_head(blocks, skeleton, request, Options(damp=0.01))
    left = [layer["block_error_left"] for _, part in shards for layer in part.values()]
    if left:  # not where the head alone is rounded
        context.metric("block_error_left", sum(left) / len(left))
    return finish(model, skeleton, request, shards, extra, "learned", context)


class _Work:
    """Learning on one block."""

    def __init__(self, skeleton: Skeleton, targets: list[Target], config: Any, context: Context) -> None:
        self.skeleton = skeleton
        self.targets = {target.module: target for target in targets}
        self.config = config
        self.context = context

    def __call__(self, blocks: Blocks, block: nn.Module, index: int) -> BlockResult:
        prefix = f"{blocks.name}.{index}."
        mine = {n.removeprefix(prefix): t for n, t in self.targets.items() if n.startswith(prefix)}
        blocks.run(block, index, reference=True)
        done: Done = {}
        if mine:
            curvatures = self._curvatures(blocks, block, index, list(mine))
            weights = {name: weight_of(block.get_submodule(name)).clone() for name in mine}
            layers = {name: _started(weights[name], target, curvatures.get(name)) for name, target in mine.items()}
            left = self._learn(blocks, block, index, layers)
            for name, layer in layers.items():
                rounded = layer.quantized()
                dense = rounded.dense()
                curvature = curvatures.get(name)
                if curvature is None:  # the calibration text never came by here
                    curvature = torch.eye(dense.shape[1], device=dense.device)
                error = measure(weights[name], dense, curvature)
                done[name] = (rounded, {**error, "block_error_left": round(left, 6)})
                module = block.get_submodule(name)
                module.weight = nn.Parameter(as_rows(module, dense).contiguous(), requires_grad=False)
        return result(blocks, block, index, self.skeleton, done, set())

    def _curvatures(self, blocks: Blocks, block: nn.Module, index: int, names: list[str]) -> dict[str, torch.Tensor]:
        first = FirstOf(blocks, -(-_MOMENT_TOKENS // blocks.tokens.shape[1]))
        return {name: moments for group, moments in moments_of(first, block, index, names) for name in group}

    def _learn(self, blocks: Blocks, block: nn.Module, index: int, layers: dict[str, LearnedLayer]) -> float:
        """Teach the layers; returns the share of the block's error that is left."""
        config = self.config
        rate = config.learning_rate or 1 / config.iterations
        scale_rate = rate / 10 if config.scale_learning_rate is None else config.scale_learning_rate
        modules = {name: block.get_submodule(name) for name in layers}
        for module in modules.values():
            kind = torch.bfloat16 if blocks.half else torch.float32
            module.weight = nn.Parameter(module.weight.to(kind))
        start = {name: layer.state() for name, layer in layers.items()}
        before = self._loss(blocks, block, index, layers)
        count = min(config.batch_size, len(blocks.hidden))
        order = _order(len(blocks.hidden), config.iterations * count, self.context.seed, index)
        for step, sequences in enumerate(order.split(count)):
            for name, layer in layers.items():
                set_weight(modules[name], layer.dense())
                modules[name].weight.grad = None
            for piece in sequences.split(blocks.batch):
                with torch.enable_grad():
                    share = len(piece) / len(sequences)
                    (share * _gap(blocks, block, index, piece)).backward()  # type: ignore[no-untyped-call]
            now = 1 - step / config.iterations
            for name, layer in layers.items():
                slope = modules[name].weight.grad
                if slope is not None:
                    layer.step(as_rows(modules[name], slope), rate * now, scale_rate * now)
        after = self._loss(blocks, block, index, layers)
        if after < before:
            return (after / before) ** 0.5
        for name, layer in layers.items():
            layer.restore(start[name])
        self.context.note(f"{blocks.name}.{index}: learning won nothing; its grids are kept, and rounded to nearest")
        return 1.0

    def _loss(self, blocks: Blocks, block: nn.Module, index: int, layers: dict[str, LearnedLayer]) -> float:
        """The block's error on the first sequences, with the layers as they are now."""
        for name, layer in layers.items():
            set_weight(block.get_submodule(name), layer.dense())
        return float(_gap(blocks, block, index, torch.arange(min(blocks.batch, len(blocks.hidden)))))


def _gap(blocks: Blocks, block: nn.Module, index: int, sequences: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of what the block makes of some sequences from the reference."""
    assert blocks.reference is not None
    out = blocks.call(block, index, blocks.hidden[sequences])
    return functional.mse_loss(out.float(), blocks.reference[sequences])


def _started(weight: torch.Tensor, target: Target, curvature: torch.Tensor | None) -> LearnedLayer:
    """Rounding to nearest, on grids that are cut back where that lowers the error."""
    blocks = grouped(weight, target.spec.group_size)
    if curvature is None:
        return LearnedLayer(weight, target.spec, *minmax(blocks, target.spec))
    importance = grouped(curvature.diagonal().clamp(min=1e-12).unsqueeze(0), target.spec.group_size)
    return LearnedLayer(weight, target.spec, *shrunk(blocks, target.spec, importance, steps=16, most=0.4))


def _order(sequences: int, wanted: int, seed: int, index: int) -> torch.Tensor:
    """Sequences in a random order, again and again until there are as many as wanted."""
    draw = torch.Generator().manual_seed((seed * 10_007 + index) % 2**63)
    rounds = -(-wanted // sequences)
    return torch.cat([torch.randperm(sequences, generator=draw) for _ in range(rounds)])[:wanted]
