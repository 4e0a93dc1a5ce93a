"""The GPTQ pass: block by block, layers that share an input together."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._blockwork import Done, FirstOf, moments_of, result
from olive_like.passes.quantize._calibrate import calibration_tokens
from olive_like.passes.quantize._finish import finish
from olive_like.passes.quantize._gptq_solve import Curvature, solve
from olive_like.passes.quantize._grid import Quantized, Spec, grouped, joined, round_to, shrunk
from olive_like.passes.quantize._output import LayerError
from olive_like.passes.quantize._request import Request, read_request
from olive_like.passes.quantize._rotate import quarot
from olive_like.passes.quantize._skeleton import Skeleton, Target, finite, linear_names, load_skeleton
from olive_like.passes.quantize._stream import BlockResult, Blocks, go_through

_HEAD_ROWS = 8192


@dataclass(frozen=True)
class Options:
    """What the passes that run GPTQ differ in."""

    damp: float
    increment: float = 0.01
    desc_act: bool = False  # groups of columns in the order of their weight
    order: bool = True  # columns in that order
    sequential: bool = False
    search: bool = True


def run(model: HfModel, config: Any, context: Context) -> HfModel:
    options = Options(config.damp_percent, desc_act=bool(config.desc_act), order=config.desc_act is not False)
    return _run(model, config, options, context)


def run_like_gptqmodel(model: HfModel, config: Any, context: Context) -> HfModel:
    if config.rotation is not None:
        model = _rotated(model, config.rotation, context)
    names = linear_names(load_skeleton(model.path))
    overrides, exclude = read_dynamic(config.dynamic or {}, names, context)
    settings = SimpleNamespace(
        bits=config.bits, group_size=config.group_size, sym=config.sym, lm_head=config.lm_head,
        overrides=overrides, modules_to_not_convert=exclude,
    )  # fmt: skip
    options = Options(
        config.damp_percent, config.damp_auto_increment, config.desc_act and not config.static_groups,
        config.desc_act, config.true_sequential, config.mse > 0,
    )  # fmt: skip
    return _run(model, settings, options, context)


def _rotated(model: HfModel, mode: str, context: Context) -> HfModel:
    """The model turned as QuaRot does it, in the scratch folder, where an interrupted run finds it again."""
    folder, partial = context.scratch / "rotated", context.scratch / "rotated.part"
    if not folder.exists():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        quarot(model, SimpleNamespace(seed=context.seed, rotate_mode=mode), replace(context, output=partial))
        partial.rename(folder)
    return HfModel(folder, model.attributes, digest=model.digest)


def run_like_optimum(model: HfModel, config: Any, context: Context) -> HfModel:
    skeleton = load_skeleton(model.path)
    exclude: list[str] = []
    if config.inside_layer_modules is not None:
        wanted = [name for group in config.inside_layer_modules for name in group]
        block = skeleton.blocks()[1][0]
        layers = [name for name, module in block.named_modules() if isinstance(module, nn.Linear)]
        unknown = [name for name in wanted if name not in layers]
        if unknown:
            raise PassError(f"inside_layer_modules names {unknown[0]!r}", f"A block has {', '.join(layers)}.")
        exclude = [name for name in layers if name not in wanted]
    settings = SimpleNamespace(
        bits=config.bits, group_size=config.group_size, sym=config.sym, lm_head=False,
        overrides=None, modules_to_not_convert=exclude,
    )  # fmt: skip
    options = Options(
        config.damp_percent, 0.01, config.desc_act and not config.static_groups,
        config.desc_act, config.true_sequential, False,
    )  # fmt: skip
    return _run(model, settings, options, context)


def read_dynamic(
    dynamic: dict[str, Any], names: list[str], context: Context
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """gptqmodel's patterns as overrides and exclusions by name; the first pattern that fits a name counts."""
    overrides: dict[str, dict[str, Any]] = {}
    exclude: list[str] = []
    used = set()
    for name in names:
        for pattern, own in dynamic.items():
            try:
                fits = re.match(pattern.removeprefix("+:").removeprefix("-:"), name)
            except re.error as error:
                raise PassError(f"the pattern {pattern!r} of `dynamic` is no regular expression: {error}") from error
            if not fits:
                continue
            used.add(pattern)
            if pattern.startswith("-:"):
                exclude.append(name)
            else:
                overrides[name] = own.model_dump(exclude_none=True, exclude={"desc_act"})
            break
    for pattern, own in dynamic.items():
        if own.desc_act is not None:
            context.warn(f"`desc_act` of the pattern {pattern!r} of `dynamic` has no effect: all layers have one order")
        if pattern not in used:
            context.warn(f"the pattern {pattern!r} of `dynamic` fits no layer")
    return overrides, exclude


def _run(model: HfModel, config: Any, options: Options, context: Context) -> HfModel:
    torch.set_num_threads(context.threads)
    skeleton = load_skeleton(model.path)
    request = read_request(model, config, skeleton, context)
    tokens = calibration_tokens(model, context)
    with torch.inference_mode():
        blocks = Blocks(skeleton, tokens, context.device)
        shards = go_through(blocks, _Work(skeleton, request, options), context)
        extra = round_head(blocks, skeleton, request, options)
    return finish(model, skeleton, request, shards, extra, "gptq", context, desc_act=options.desc_act)


class _Work:
    """GPTQ on one block."""

    def __init__(self, skeleton: Skeleton, request: Request, options: Options) -> None:
        self.skeleton = skeleton
        self.targets = {target.module: target for target in request.targets}
        self.options = options

    def __call__(self, blocks: Blocks, block: nn.Module, index: int) -> BlockResult:
        prefix = f"{blocks.name}.{index}."
        mine = {n.removeprefix(prefix): t for n, t in self.targets.items() if n.startswith(prefix)}
        done: Done = {}
        for names in self._stages(blocks, block, index, list(mine)):
            for group, curvature in moments_of(blocks, block, index, names):
                done |= self._solve(block, group, curvature, mine)
        return result(blocks, block, index, self.skeleton, done, set())

    def _stages(self, blocks: Blocks, block: nn.Module, index: int, names: list[str]) -> list[list[str]]:
        """All layers at once, or one group after the other, each calibrated on those before it."""
        if not names:
            return []
        if not self.options.sequential:
            return [names]
        groups: list[list[str]] = []
        first = FirstOf(blocks, blocks.batch)  # enough to learn their order
        first.watch(block, index, names, lambda group, _: groups.append(list(group)))
        return groups

    def _solve(
        self, block: nn.Module, group: tuple[str, ...], curvature: torch.Tensor, mine: dict[str, Target]
    ) -> Done:
        """Layers on the same input and grid are one matrix: each column is one step for all of them."""
        done = {}
        by_spec: dict[Any, list[str]] = {}
        for name in group:
            by_spec.setdefault(mine[name].spec, []).append(name)
        for spec, names in by_spec.items():
            weights = [weight_of(block.get_submodule(name)) for name in names]
            solved = _solve_with(self.options, torch.cat(weights), curvature, spec, names[0])
            at = 0
            for name, weight in zip(names, weights, strict=True):
                part = rows_of(solved, at, at + len(weight))
                at += len(weight)
                rounded = part.dense()
                done[name] = (part, measure(weight, rounded, curvature))
                set_weight(block.get_submodule(name), rounded)
        return done


def rows_of(layer: Quantized, start: int, stop: int) -> Quantized:
    return Quantized(
        layer.codes[start:stop], layer.scales[start:stop], layer.zeros[start:stop], layer.g_idx, layer.spec
    )


def measure(weight: torch.Tensor, rounded: torch.Tensor, curvature: torch.Tensor) -> dict[str, float]:
    """How far the weights moved, and the outputs on the calibration text."""
    error = LayerError()
    error.add(weight, rounded)
    gap = weight - rounded
    moved = float(((gap @ curvature) * gap).sum())
    whole = float(((weight @ curvature) * weight).sum())
    return {**error.to_json(), "output_error": round((max(moved, 0.0) / whole) ** 0.5, 6) if whole > 0 else 0.0}


def as_rows(module: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """A weight of the module as [out, in], or such a one as the module has it: some hold theirs turned."""
    return weight if isinstance(module, nn.Linear) else weight.T


def weight_of(module: nn.Module) -> torch.Tensor:
    return as_rows(module, module.weight)


def set_weight(module: nn.Module, weight: torch.Tensor) -> None:
    module.weight.copy_(as_rows(module, weight))


def round_head(blocks: Blocks, skeleton: Skeleton, request: Request, options: Options | None = None) -> Done:
    """The output head, calibrated on what the last block and norm make; without options by clipping alone."""
    target = next((t for t in request.targets if t.module == skeleton.head), None)
    if target is None:
        return {}
    moments = Curvature(target.inputs, blocks.device)
    for state in blocks.final():
        moments.add(state.reshape(-1, state.shape[-1]))
    curvature = moments.mean()
    parts, errors = [], []
    for start in range(0, target.outputs, _HEAD_ROWS):
        weight = skeleton.checkpoint.read(f"{target.tensor}.weight", start, start + _HEAD_ROWS)
        weight = finite(weight.float(), target.module).to(blocks.device)
        if options is None:
            importance = grouped(curvature.diagonal().unsqueeze(0), target.spec.group_size)
            grid = shrunk(grouped(weight, target.spec.group_size), target.spec, importance)
            part = round_to(weight, *grid, target.spec)
        else:
            part = _solve_with(options, weight, curvature, target.spec, target.module)
        errors.append(measure(weight, part.dense(), curvature))
        parts.append(part)
    whole = joined(parts)
    return {target.module: (whole, {name: sum(e[name] for e in errors) / len(errors) for name in errors[0]})}


def _solve_with(options: Options, weight: torch.Tensor, curvature: torch.Tensor, spec: Spec, name: str) -> Quantized:
    return solve(
        weight, curvature, spec, damp=options.damp, increment=options.increment, order=options.order,
        regroup=options.desc_act, search=options.search, name=name,
    )  # fmt: skip
