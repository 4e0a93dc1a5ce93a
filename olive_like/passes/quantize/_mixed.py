"""Which layers get more bits: by the rule of llama.cpp's mixes, or by what is measured on text or weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._calibrate import calibration_tokens
from olive_like.passes.quantize._dequant import load_quantized
from olive_like.passes.quantize._grid import Spec, grouped, minmax, round_to
from olive_like.passes.quantize._passthrough import copy_model
from olive_like.passes.quantize._request import ATTRIBUTE
from olive_like.passes.quantize._skeleton import Skeleton, Target, choose, finite, load_skeleton, pick_spec

_TOKENS = 8192  # enough for a ranking; a gradient costs three times a forward pass
_VALUE, _DOWN = ("v_proj", "qkv_proj", "c_attn", "query_key_value"), ("down_proj", "fc2", "dense_4h_to_h")


def run(model: HfModel, config: Any, context: Context) -> HfModel:
    torch.set_num_threads(context.threads)
    skeleton = load_skeleton(model.path)
    if skeleton.quantized is not None:
        raise PassError("the model is quantised already", "Choose layers before the model is quantised.")
    algorithm = config.algorithm or ("kld_gradient" if config.ratio else "k_quant_mixed")
    high = {
        "bits": config.high_bits,
        "group_size": config.group_size if config.high_group_size is None else config.high_group_size,
        "sym": config.sym if config.high_sym is None else config.high_sym,
    }
    targets = choose(skeleton, spec=pick_spec(config.bits, config.group_size, config.sym, {}), lm_head=False)
    if algorithm.startswith("k_quant"):
        names = by_rule(skeleton, targets, algorithm)
        scores: dict[str, float] = {}
    else:
        scores = _measure(model, skeleton, targets, algorithm, high, context)
        if not all(math.isfinite(score) for score in scores.values()):
            raise PassError("the measured sensitivity is not a number", "Is the model sound, and its text its own?")
        names = spend(_units(targets), scores, 1 - config.ratio)
    default = {"bits": config.bits, "group_size": config.group_size, "sym": config.sym}
    advice = {"algorithm": algorithm, "default": default, "overrides": dict.fromkeys(names, high)}
    copy_model(model.path, context.output)
    weights = {target.module: target.outputs * target.inputs for target in targets}
    share = sum(weights.get(name, 0) for name in names) / sum(weights.values())
    context.metric("high_bits_share", share)
    context.note(f"{algorithm}: {len(names)} layers of {len(targets)} get {config.high_bits} bits")
    return HfModel(context.output, {**model.attributes, ATTRIBUTE: advice | {"sensitivity": scores}})


def by_rule(skeleton: Skeleton, targets: list[Target], algorithm: str) -> list[str]:
    """The head; for the mixes also values and down projections of the first and last eighth and each third block."""
    names = [skeleton.head] if skeleton.head else []
    if algorithm == "k_quant_last":
        return names
    prefix, blocks = skeleton.blocks()
    count = len(blocks)
    wanted = _DOWN if algorithm == "k_quant_down" else _VALUE + _DOWN
    for target in targets:
        if not target.module.startswith(f"{prefix}.") or not target.module.endswith(wanted):
            continue
        index = int(target.module[len(prefix) + 1 :].partition(".")[0])
        if index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2:
            names.append(target.module)
    return names


def _units(targets: list[Target]) -> list[list[Target]]:
    """Layers that get the same bits: queries, keys and values, which runtimes fuse, and any other by itself."""
    units: dict[str, list[Target]] = {}
    for target in targets:
        parent, _, name = target.module.rpartition(".")
        key = f"{parent}.qkv" if name in ("q_proj", "k_proj", "v_proj") else target.module
        units.setdefault(key, []).append(target)
    return list(units.values())


def spend(units: list[list[Target]], scores: dict[str, float], share: float) -> list[str]:
    """The layers that gain most per weight, until `share` of all weights is spent."""
    size = {id(unit): sum(t.outputs * t.inputs for t in unit) for unit in units}
    gain = {id(unit): sum(scores[t.module] for t in unit) / size[id(unit)] for unit in units}
    left = share * sum(size.values())
    chosen = []
    for unit in sorted(units, key=lambda unit: (-gain[id(unit)], unit[0].module)):
        if size[id(unit)] <= left:
            left -= size[id(unit)]
            chosen += [target.module for target in unit]
    order = {target.module: i for i, target in enumerate(t for unit in units for t in unit)}
    return sorted(chosen, key=order.__getitem__)


def _measure(
    model: HfModel, skeleton: Skeleton, targets: list[Target], algorithm: str, high: dict[str, Any], context: Context
) -> dict[str, float]:
    if algorithm == "snr":
        return {target.module: _noise(skeleton, target) for target in targets}
    tokens = calibration_tokens(model, context)
    tokens = tokens[: max(1, _TOKENS // tokens.shape[1])]
    return kld_gradient(model, skeleton, targets, high, tokens, context)


def _weight(skeleton: Skeleton, target: Target) -> torch.Tensor:
    weight = finite(skeleton.checkpoint.read(f"{target.tensor}.weight").float(), target.module)
    return weight.T.contiguous() if target.transposed else weight


def _rounded(weight: torch.Tensor, spec: Spec) -> torch.Tensor:
    return round_to(weight, *minmax(grouped(weight, spec.group_size), spec), spec).dense()


def _noise(skeleton: Skeleton, target: Target) -> float:
    """What rounding takes of the weights' energy, times their number: the inverse of the ratio of signal to noise."""
    weight = _weight(skeleton, target)
    gap = weight - _rounded(weight, target.spec)
    return float(gap.square().sum() / weight.square().sum().clamp(min=1e-30)) * weight.numel()


def kld_gradient(
    model: HfModel,
    skeleton: Skeleton,
    targets: list[Target],
    high: dict[str, Any],
    tokens: torch.Tensor,
    context: Context,
) -> dict[str, float]:
    """How much the divergence from the original model would fall if a layer had the higher bits, to first order.

    All layers are rounded to the low bits; the gradient of the divergence at that point, times what the higher bits
    would change, is a layer's part. Gradients are used up as they come, so there is one model in memory, not three.
    """
    # Checkpoints of gradients are for models in training, and noise is not what is measured.
    quiet = {name: 0.0 for name, value in skeleton.config.to_dict().items() if "drop" in name and _is_share(value)}
    network = load_quantized(model.path, AutoModelForCausalLM, **quiet).to(context.device)
    network.requires_grad_(False)
    tokens = tokens.to(context.device)
    with torch.no_grad():
        want = [torch.log_softmax(network(row[None]).logits.float(), -1).half().cpu() for row in tokens]
    scores = dict.fromkeys([target.module for target in targets], 0.0)
    modules = dict(network.named_modules())
    handles = []
    for target in targets:
        parameter = modules[target.module].weight
        original = _weight(skeleton, target)
        parameter.copy_(_rounded(original, target.spec).T if target.transposed else _rounded(original, target.spec))
        parameter.requires_grad_(True)
        handles.append(parameter.register_post_accumulate_grad_hook(_taker(skeleton, target, high, scores)))
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    network.train()
    for step, (row, goal) in enumerate(zip(tokens, want, strict=True)):
        got = torch.log_softmax(network(row[None], use_cache=False).logits.float(), -1)
        target_log = goal.to(got.device).float()
        loss = (target_log.exp() * (target_log - got)).sum(-1).mean()
        loss.backward()
        context.progress(step + 1, len(tokens), divergence=float(loss.detach()))
    for handle in handles:
        handle.remove()
    return {name: abs(score) / len(tokens) for name, score in scores.items()}


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and value > 0


def _taker(
    skeleton: Skeleton, target: Target, high: dict[str, Any], scores: dict[str, float]
) -> Callable[[torch.Tensor], None]:
    size = high["group_size"]
    spec = Spec(high["bits"], target.inputs if size == -1 else size, high["sym"])

    def take(parameter: torch.Tensor) -> None:
        weight = _weight(skeleton, target).to(parameter.device)
        better = _rounded(weight, spec)
        better = better.T if target.transposed else better
        assert parameter.grad is not None
        scores[target.module] += float((parameter.grad * (better - parameter.detach())).sum())
        parameter.grad = None

    return take
