"""Layers whose adapter can be switched: the base's own layer, and two matrices beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from olive_like.errors import PassError


@dataclass(frozen=True)
class Matrices:
    """What an adapter adds to one layer: x @ a @ b, the scale in b; `gain` multiplies the layer's own part (DoRA)."""

    a: torch.Tensor  # [features in, rank]
    b: torch.Tensor  # [rank, features out]
    gain: torch.Tensor | None = None  # [features out]

    def named(self, layer: str) -> dict[str, torch.Tensor]:
        """The tensors by the names that the graph has for them."""
        made = {f"{layer}.lora_A.weight": self.a, f"{layer}.lora_B.weight": self.b}
        return made | ({f"{layer}.lora_gain.weight": self.gain} if self.gain is not None else {})


class Held(torch.nn.Module):
    """One tensor under a name of its own."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)


class Switchable(torch.nn.Module):
    """A linear layer with an adapter's matrices as weights of their own."""

    def __init__(self, layer: torch.nn.Module, matrices: Matrices) -> None:
        super().__init__()
        self.base_layer = layer
        self.lora_A = Held(matrices.a)
        self.lora_B = Held(matrices.b)
        self.lora_gain = Held(matrices.gain) if matrices.gain is not None else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.base_layer(x)
        if self.lora_gain is not None:
            bias = getattr(self.base_layer, "bias", None)
            y = y * self.lora_gain.weight if bias is None else (y - bias) * self.lora_gain.weight + bias
        return y + x @ self.lora_A.weight @ self.lora_B.weight


def matrices_of(model: Any, name: str = "default", heads: tuple[str, ...] = ()) -> dict[str, Matrices]:
    """Layer -> what an adapter adds there, read off a PeftModel; what is no such sum is refused, but for `heads`."""
    from peft.tuners.lora import LoraLayer

    settings = model.peft_config[name]
    kind = getattr(settings.peft_type, "value", str(settings.peft_type))
    if kind != "LORA":
        raise PassError(
            f"an adapter of type {kind} cannot be switched in a graph", "LoRA, rsLoRA, PiSSA and DoRA can; merge it."
        )
    whole = [module for module in settings.modules_to_save or () if module not in heads]
    if whole:
        raise PassError(
            f"the adapter brings whole layers of its own ({', '.join(sorted(whole))}), not only matrices",
            "Train it without modules_to_save, or merge it into a model of its own.",
        )
    found: dict[str, Matrices] = {}
    for path, layer in model.base_model.model.named_modules():
        if isinstance(layer, LoraLayer) and name in (*layer.lora_A, *layer.lora_embedding_A):
            found[path] = _read(path, layer, name)
    if not found:
        raise PassError("the adapter changes no layer of this model", "It was trained on another base model.")
    return found


@torch.no_grad()
def _read(path: str, layer: Any, name: str) -> Matrices:
    if name not in layer.lora_A or layer.lora_A[name].weight.dim() != 2:
        raise PassError(
            f"the adapter changes {path}, which is no linear layer", "Only linear layers can be switched; merge it."
        )
    a, b = layer.lora_A[name], layer.lora_B[name]
    if b.bias is not None:
        raise PassError(f"the adapter trains a bias of {path} (lora_bias)", "It cannot be switched; merge it.")
    gain = None
    scale = layer.scaling[name]
    if layer.use_dora.get(name):
        # m / |W + s·BA|, one factor for each output: it multiplies both the layer's own part and the adapter's
        weight = layer.get_base_layer().weight
        weight = weight.T if layer.fan_in_fan_out else weight
        norm = torch.linalg.norm(weight.float() + scale * (b.weight.float() @ a.weight.float()), dim=1)
        gain = layer.lora_magnitude_vector[name].weight.float() / norm
    up = b.weight.float().T * scale
    return Matrices(a.weight.float().T.clone(), (up if gain is None else up * gain).clone(), gain)


def install(model: torch.nn.Module, layers: Mapping[str, Matrices], dtype: torch.dtype) -> None:
    """Put switchable layers in place of the model's own."""
    for path, matrices in layers.items():
        holder, _, leaf = path.rpartition(".")
        owner = model.get_submodule(holder) if holder else model
        gain = matrices.gain.to(dtype) if matrices.gain is not None else None
        setattr(
            owner, leaf, Switchable(getattr(owner, leaf), Matrices(matrices.a.to(dtype), matrices.b.to(dtype), gain))
        )


def padded(layers: Mapping[str, Matrices], ranks: Mapping[str, int]) -> dict[str, Matrices]:
    """The same matrices at the ranks that a graph was given, with zeros where there is nothing to add."""
    made = {}
    for path, one in layers.items():
        more = ranks[path] - one.a.shape[1]
        a = torch.nn.functional.pad(one.a, (0, more))
        made[path] = Matrices(a, torch.nn.functional.pad(one.b, (0, 0, 0, more)), one.gain)
    return made
