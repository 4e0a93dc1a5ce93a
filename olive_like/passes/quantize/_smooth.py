"""SmoothQuant, and clipping as a step of its own: calibrated changes of weights that stay dense."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context
from olive_like.passes.quantize._awq import clipped_range
from olive_like.passes.quantize._blockwork import collect, result, store_as_written
from olive_like.passes.quantize._dense import change_blocks, dense_skeleton
from olive_like.passes.quantize._family import family_of, move
from olive_like.passes.quantize._grid import fake, grouped
from olive_like.passes.quantize._output import LayerError
from olive_like.passes.quantize._request import read_request
from olive_like.passes.quantize._stream import BlockResult, Blocks


def smooth(model: HfModel, config: Any, context: Context) -> HfModel:
    skeleton = dense_skeleton(model, context)
    family = family_of(skeleton.blocks()[1][0], skeleton.config, "SmoothQuant")

    def work(blocks: Blocks, block: nn.Module, index: int) -> BlockResult:
        folds = [fold for fold in family.folds() if fold.norm]
        statistics = collect(blocks, block, index, [name for fold in folds for name in fold.readers])
        changed: set[str] = set()
        largest_before, largest_after = 0.0, 0.0
        for fold in folds:
            activation = statistics[fold.readers[0]].largest.clamp(min=1e-5)
            readers = [block.get_submodule(name).weight for name in fold.readers]
            weights = torch.cat(readers).abs().amax(0).clamp(min=1e-5)
            scale = (activation.pow(config.alpha) / weights.pow(1 - config.alpha)).clamp(min=1e-5)
            changed |= set(move(block, fold, scale))
            largest_before = max(largest_before, float(activation.max() / activation.median()))
            largest_after = max(largest_after, float((activation / scale).max() / (activation / scale).median()))
        store_as_written(block, skeleton, blocks, index, changed)
        done = result(blocks, block, index, skeleton, {}, changed)
        name = f"{blocks.name}.{index}"
        return BlockResult(done.tensors, {name: {"outlier_before": largest_before, "outlier_after": largest_after}})

    return change_blocks(model, skeleton, work, context)


def clip(model: HfModel, config: Any, context: Context) -> HfModel:
    skeleton = dense_skeleton(model, context)
    request = read_request(model, config, skeleton, context)
    targets = {target.module: target for target in request.targets if not target.transposed}

    def work(blocks: Blocks, block: nn.Module, index: int) -> BlockResult:
        prefix = f"{blocks.name}.{index}."
        mine = {name.removeprefix(prefix): t for name, t in targets.items() if name.startswith(prefix)}
        if not mine:
            return result(blocks, block, index, skeleton, {}, set())
        statistics = collect(blocks, block, index, list(mine))
        errors = {}
        for name, target in mine.items():
            module = block.get_submodule(name)
            weight, spec = module.weight.clone(), target.spec
            curvature = statistics[name].curvature.mean()
            scale, zero = clipped_range(weight, curvature, spec, config.n_grid, config.max_shrink)
            groups = grouped(weight, spec.group_size)
            low = (-zero * scale).unsqueeze(-1)
            high = ((spec.top - zero) * scale).unsqueeze(-1)
            clipped = torch.maximum(torch.minimum(groups, high), low).flatten(1)[:, : weight.shape[1]]
            module.weight.copy_(clipped)
            error = LayerError()
            error.add(weight, fake(groups, scale, zero, spec.top).flatten(1)[:, : weight.shape[1]])
            cut = float((clipped != weight).float().mean())
            errors[prefix + name] = {**error.to_json(), "clipped_weights": round(cut, 6)}
        store_as_written(block, skeleton, blocks, index, set(mine))
        return BlockResult(result(blocks, block, index, skeleton, {}, set(mine)).tensors, errors)

    return change_blocks(model, skeleton, work, context)
