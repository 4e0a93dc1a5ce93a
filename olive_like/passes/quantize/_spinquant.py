"""SpinQuant: learn the rotations by descent on orthogonal matrices, on the loss of the rounded model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from transformers import AutoModelForCausalLM

from olive_like.artifacts import HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.quantize._calibrate import calibration_tokens
from olive_like.passes.quantize._dequant import load_quantized
from olive_like.passes.quantize._family import norm_offset
from olive_like.passes.quantize._grid import Spec, fake, grouped, minmax
from olive_like.passes.quantize._rotate import Plan, orthogonal, plan_rotation, write_rotated
from olive_like.passes.quantize._skeleton import load_skeleton
from olive_like.passes.quantize.rotate import RotationTraining


def run(model: HfModel, config: Any, context: Context) -> HfModel:
    torch.set_num_threads(context.threads)
    skeleton = load_skeleton(model.path)
    if skeleton.quantized is not None:
        raise PassError("the model is quantised already", "Rotate the model before it is quantised.")
    plan = plan_rotation(skeleton, "SpinQuant")
    if plan.family.value_rows is not None:
        raise PassError(
            "SpinQuant takes models with separate query, key and value projections",
            "QuaRot takes this one.",
        )
    tokens = calibration_tokens(model, context)
    network = load_quantized(model.path, AutoModelForCausalLM).to(context.device)
    draw = torch.Generator().manual_seed(config.seed)
    start = [orthogonal(plan.width, config.rotate_mode, draw)]
    start += [orthogonal(plan.family.head_dim, config.rotate_mode, draw)] * plan.layers
    learner = _Learner(network, plan, config, context.device)
    learnt = learner.learn([r.to(context.device).float() for r in start], tokens, context)
    rotations = [_nearest(r.cpu().double()) for r in learnt]
    del network, learner
    with torch.inference_mode():
        write_rotated(model, skeleton, plan, rotations[0], rotations[1:], context)
    return HfModel(context.output, model.attributes)


def _nearest(matrix: torch.Tensor) -> torch.Tensor:
    """The orthogonal matrix nearest to one that rounding has moved off a little."""
    left, _, right = torch.linalg.svd(matrix)
    return left @ right


def cayley_step(rotation: torch.Tensor, gradient: torch.Tensor, rate: float) -> torch.Tensor:
    """A step downhill that stays orthogonal, no longer than half a turn's scale."""
    skew = gradient @ rotation.T - rotation @ gradient.T
    size = min(rate, 1.0 / (float(skew.norm()) + 1e-8))
    identity = torch.eye(len(rotation), device=rotation.device)
    turned: torch.Tensor = torch.linalg.solve(identity + size / 2 * skew, (identity - size / 2 * skew) @ rotation)
    return turned


@dataclass(frozen=True)
class _Layer:
    """How a weight turns: on its inputs, its outputs, and by heads."""

    name: str
    reads: bool = False
    writes: bool = False
    value_of: int | None = None  # index of the block whose heads its outputs are
    heads_of: int | None = None  # index of the block whose heads its inputs are


class _Learner:
    """The model with its norms emptied, and its loss as a function of the rotations."""

    def __init__(self, network: nn.Module, plan: Plan, config: Any, device: str) -> None:
        self.network, self.plan, self.config = network, plan, config
        self.layers = list(_layers(plan))
        self.fixed = _empty_norms(network, plan)
        self.spec = Spec(config.w_bits, config.w_group_size, False)
        if config.a_bits < 16:
            for layer in self.layers:
                module = network.get_submodule(layer.name)
                module.register_forward_pre_hook(lambda _m, args: (self._activation(args[0]), *args[1:]))

    def learn(self, rotations: list[torch.Tensor], tokens: torch.Tensor, context: Context) -> list[torch.Tensor]:
        training = self.config.training_args or RotationTraining()
        batches = tokens.split(training.per_device_train_batch_size)
        with torch.no_grad():
            before = self._mean_loss(rotations, batches)
        best, best_loss = rotations, before
        for step in range(training.max_steps):
            rotations = [rotation.detach().requires_grad_(True) for rotation in rotations]
            loss = self.loss(rotations, batches[step % len(batches)])
            gradients = torch.autograd.grad(loss, rotations)
            rate = training.learning_rate * (1 - step / training.max_steps)
            with torch.no_grad():
                rotations = [cayley_step(r, g, rate) for r, g in zip(rotations, gradients, strict=True)]
            context.progress(step + 1, training.max_steps, loss=float(loss.detach()))
        with torch.no_grad():
            after = self._mean_loss(rotations, batches)
        if after < best_loss:
            best, best_loss = rotations, after
        else:
            context.warn("training did not lower the loss: the rotation that it began with is used")
        context.metric("rounded_loss_before", before)
        context.metric("rounded_loss_after", best_loss)
        return [rotation.detach() for rotation in best]

    def _mean_loss(self, rotations: list[torch.Tensor], batches: tuple[torch.Tensor, ...]) -> float:
        some = batches[:8]
        return sum(float(self.loss(rotations, batch)) for batch in some) / len(some)

    def loss(self, rotations: list[torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens.to(rotations[0].device)
        logits = functional_call(
            self.network, self.weights(rotations), (tokens,), {"use_cache": False}, tie_weights=False
        ).logits
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())

    def weights(self, rotations: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        residual = rotations[0]
        turned = dict(self.fixed)
        turned[f"{self.plan.embedding}.weight"] = self.fixed[f"{self.plan.embedding}.weight"] @ residual
        turned[f"{self.plan.head}.weight"] = self.fixed[f"{self.plan.head}.weight"] @ residual
        for layer in self.layers:
            weight, bias = self.fixed[f"{layer.name}.weight"], self.fixed.get(f"{layer.name}.bias")
            if layer.value_of is not None:
                turn = rotations[1 + layer.value_of]
                heads = weight.view(-1, len(turn), weight.shape[1])
                weight = torch.einsum("hik,ij->hjk", heads, turn).reshape(weight.shape)
                if bias is not None:
                    bias = (bias.view(-1, len(turn)) @ turn).reshape(-1)
            if layer.heads_of is not None:
                turn = rotations[1 + layer.heads_of]
                weight = (weight.view(len(weight), -1, len(turn)) @ turn).reshape(weight.shape)
            if layer.reads:
                weight = weight @ residual
            if layer.writes:
                weight = residual.T @ weight
                bias = None if bias is None else residual.T @ bias
            turned[f"{layer.name}.weight"] = self._round(weight)
            if bias is not None:
                turned[f"{layer.name}.bias"] = bias
        return turned

    def _round(self, weight: torch.Tensor) -> torch.Tensor:
        """Rounded forward, as if untouched backward."""
        if self.config.w_bits >= 16:
            return weight
        with torch.no_grad():
            size = self.spec.group_size
            blocks = grouped(weight, weight.shape[1] if size == -1 else min(size, weight.shape[1]))
            rounded = fake(blocks, *minmax(blocks, self.spec), self.spec.top).flatten(1)[:, : weight.shape[1]]
        return weight + (rounded - weight).detach()

    def _activation(self, value: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            low = value.amin(-1, keepdim=True) if self.config.a_per_token else value.min()
            high = value.amax(-1, keepdim=True) if self.config.a_per_token else value.max()
            if self.config.a_symmetric:
                high = torch.maximum(high.abs(), low.abs())
                low = -high
            step = ((high - low) / (2**self.config.a_bits - 1)).clamp(min=1e-8)
            rounded = ((value - low) / step).round() * step + low
        return value + (rounded - value).detach()


def _layers(plan: Plan) -> Any:
    family = plan.family
    for index in range(plan.layers):
        at = f"{plan.prefix}.{index}."
        for name in family.attention_in:
            yield _Layer(at + name, reads=True, value_of=index if name == family.value else None)
        yield _Layer(at + family.attention_out, writes=True, heads_of=index)
        for name in family.mlp_in:
            yield _Layer(at + name, reads=True)
        yield _Layer(at + family.mlp_out, writes=True)


def _empty_norms(network: nn.Module, plan: Plan) -> dict[str, torch.Tensor]:
    """All parameters, the norms' own weights moved into the layers that read them, head and embedding apart."""
    fixed = {name: parameter.detach().clone() for name, parameter in network.named_parameters(remove_duplicate=False)}
    family = plan.family

    def move(norm: str, readers: list[str]) -> None:
        offset = norm_offset(network.get_submodule(norm))
        gain = fixed[f"{norm}.weight"] + offset
        for reader in readers:
            fixed[f"{reader}.weight"] = fixed[f"{reader}.weight"] * gain
        fixed[f"{norm}.weight"] = torch.full_like(gain, 1.0 - offset)

    for index in range(plan.layers):
        at = f"{plan.prefix}.{index}."
        move(at + family.attention_norm, [at + name for name in family.attention_in])
        move(at + family.mlp_norm, [at + name for name in family.mlp_in])
    move(plan.final_norm, [plan.head])
    return fixed
