"""AWQ: scale what the activations make important, clip what helps, then round to nearest.

Errors are those of the layers' outputs on the whole calibration text, taken from the second moments of the inputs.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context
from olive_like.passes.quantize._blockwork import Done, Statistics, collect, result, store_as_written
from olive_like.passes.quantize._calibrate import calibration_tokens
from olive_like.passes.quantize._family import Family, Fold, family_of, move, narrow, widen
from olive_like.passes.quantize._finish import finish
from olive_like.passes.quantize._gptq import measure, round_head
from olive_like.passes.quantize._grid import Spec, fake, from_range, grouped, minmax, round_to
from olive_like.passes.quantize._request import Request, read_request
from olive_like.passes.quantize._skeleton import Skeleton, load_skeleton
from olive_like.passes.quantize._stream import BlockResult, Blocks, go_through


def run(model: HfModel, config: Any, context: Context) -> HfModel:
    torch.set_num_threads(context.threads)
    skeleton = load_skeleton(model.path)
    settings = SimpleNamespace(
        bits=config.bits, group_size=config.q_group_size, sym=not config.zero_point, lm_head=config.lm_head,
        overrides=config.overrides, modules_to_not_convert=config.modules_to_not_convert,
    )  # fmt: skip
    request = read_request(model, settings, skeleton, context)
    family = family_of(skeleton.blocks()[1][0], skeleton.config, "AWQ")
    tokens = calibration_tokens(model, context)
    with torch.inference_mode():
        blocks = Blocks(skeleton, tokens, context.device)
        shards = go_through(blocks, _Work(skeleton, request, family, config), context)
        extra = round_head(blocks, skeleton, request)
    return finish(model, skeleton, request, shards, extra, "awq", context)


class _Work:
    """AWQ on one block."""

    def __init__(self, skeleton: Skeleton, request: Request, family: Family, config: Any) -> None:
        self.skeleton = skeleton
        self.targets = {target.module: target for target in request.targets}
        self.family = family
        self.config = config

    def __call__(self, blocks: Blocks, block: nn.Module, index: int) -> BlockResult:
        prefix = f"{blocks.name}.{index}."
        specs = {n.removeprefix(prefix): t.spec for n, t in self.targets.items() if n.startswith(prefix)}
        if not specs:
            return result(blocks, block, index, self.skeleton, {}, set())
        readers = [name for fold in self.family.folds() for name in fold.readers]
        statistics = collect(blocks, block, index, list(dict.fromkeys([*readers, *specs])))
        moments = {id(s): s.curvature.mean() for s in statistics.values()}
        curvatures = {name: moments[id(s)] for name, s in statistics.items()}
        changed: set[str] = set()
        for fold in self.family.folds():
            scale = best_scale(block, fold, specs, statistics, curvatures, self.config.n_grid, self.config.duo_scaling)
            if scale is None:
                continue
            changed |= set(move(block, fold, scale))
            wide = widen(scale, fold)
            moved = curvatures[fold.readers[0]] / torch.outer(wide, wide)
            curvatures |= dict.fromkeys(fold.readers, moved)
        done: Done = {}
        for name, spec in specs.items():
            module = block.get_submodule(name)
            weight = module.weight.clone()
            low_high = clipped_range(weight, curvatures[name], spec) if self._clips(name) else None
            scale, zero = minmax(grouped(weight, spec.group_size), spec) if low_high is None else low_high
            layer = round_to(weight, scale, zero, spec)
            rounded = layer.dense()
            done[name] = (layer, measure(weight, rounded, curvatures[name]))
            module.weight.copy_(rounded)
        store_as_written(block, self.skeleton, blocks, index, changed - set(done))
        return result(blocks, block, index, self.skeleton, done, changed)

    def _clips(self, name: str) -> bool:
        # Clipped queries and keys change the attention's scores by more than the rounding they save.
        return bool(self.config.clip) and not any(part in name for part in ("q_proj", "k_proj", "qkv"))


def best_scale(
    block: nn.Module,
    fold: Fold,
    specs: dict[str, Spec],
    statistics: dict[str, Statistics],
    curvatures: dict[str, torch.Tensor],
    steps: int,
    duo: bool,
) -> torch.Tensor | None:
    """The scale per channel of the source that lowers the readers' error most; None where none does."""
    readers = [(block.get_submodule(name).weight, specs[name]) for name in fold.readers if name in specs]
    if not readers:
        return None
    curvature = curvatures[fold.readers[0]]
    activation = narrow(statistics[fold.readers[0]].mean, fold).clamp(min=1e-5)
    weights = torch.cat([weight for weight, _ in readers])
    group = readers[0][1].group_size
    blocks = grouped(weights.abs(), group)
    relative = (blocks / blocks.amax(-1, keepdim=True).clamp(min=1e-8)).flatten(1)[:, : weights.shape[1]].mean(0)
    share = narrow(relative, fold).clamp(min=1e-4)
    best, chosen = float("inf"), None
    for step in range(steps):
        ratio = step / steps
        scale = activation.pow(ratio) / (share.pow(1 - ratio) if duo else 1.0)
        scale = (scale / (scale.max() * scale.min()).sqrt()).clamp(1e-4, 1e4)
        wide = widen(scale, fold)
        error = sum(scaled_error(weight, wide, spec, curvature) for weight, spec in readers)
        if error < best:
            best, chosen = error, scale
    plain = sum(scaled_error(weight, torch.ones_like(weight[0]), spec, curvature) for weight, spec in readers)
    return chosen if best < plain else None


def scaled_error(weight: torch.Tensor, wide: torch.Tensor, spec: Spec, curvature: torch.Tensor) -> float:
    """Output error of a layer that is scaled, rounded, and scaled back."""
    blocks = grouped(weight * wide, spec.group_size)
    rounded = fake(blocks, *minmax(blocks, spec), spec.top).flatten(1)[:, : weight.shape[1]]
    gap = rounded / wide - weight
    return float(((gap @ curvature) * gap).sum())


def clipped_range(
    weight: torch.Tensor, curvature: torch.Tensor, spec: Spec, steps: int = 10, most: float = 0.5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point of each group over the range that lowers its share of the output's error most."""
    blocks = grouped(weight, spec.group_size)
    groups = blocks.shape[1]
    padded = torch.nn.functional.pad(curvature, (0, groups * spec.group_size - weight.shape[1]) * 2)
    tiles = torch.stack(
        [padded[i : i + spec.group_size, i : i + spec.group_size] for i in range(0, len(padded), spec.group_size)]
    )
    low, high = blocks.amin(-1).clamp_(max=0), blocks.amax(-1).clamp_(min=0)
    best_scale, best_zero = from_range(low, high, spec)
    best = torch.full_like(low, float("inf"))
    for step in range(steps):
        keep = 1 - most * step / steps
        scale, zero = from_range(low * keep, high * keep, spec)
        gap = (fake(blocks, scale, zero, spec.top) - blocks).transpose(0, 1)
        error = (torch.bmm(gap, tiles) * gap).sum(-1).T
        better = error < best
        best = torch.where(better, error, best)
        best_scale = torch.where(better, scale, best_scale)
        best_zero = torch.where(better, zero, best_zero)
    return best_scale, best_zero
