"""Bottleneck adapters: a small network with a residual connection behind a frozen layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from olive_like.errors import PassError

KIND = "BOTTLENECK"
_ACTIVATIONS = {"relu": torch.nn.ReLU, "gelu": torch.nn.GELU, "silu": torch.nn.SiLU}
# The last layer of a block's feed-forward part, by the names that architectures give it.
_DEFAULTS = ("down_proj", "c_proj", "fc2", "output.dense", "wo", "dense_4h_to_h", "lin2", "w2")


class Bottlenecked(torch.nn.Module):
    """A layer and the small network behind it, which starts with no effect."""

    def __init__(self, layer: torch.nn.Module, width: int, size: int, activation: str) -> None:
        super().__init__()
        self.layer = layer
        self.down = torch.nn.Linear(width, size)
        self.activation = _ACTIVATIONS[activation]()
        self.up = torch.nn.Linear(size, width)
        torch.nn.init.zeros_(self.up.weight)
        torch.nn.init.zeros_(self.up.bias)

    @property
    def weight(self) -> torch.Tensor:
        """The layer's: some models ask it for its type."""
        weight: torch.Tensor = self.layer.weight
        return weight

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        hidden: torch.Tensor = self.layer(*args, **kwargs)
        inner = self.down(
            hidden if torch.is_autocast_enabled(hidden.device.type) else hidden.to(self.down.weight.dtype)
        )
        return hidden + self.up(self.activation(inner)).to(hidden.dtype)


def add(model: Any, size: int, activation: str, targets: list[str], whole: list[str]) -> Any:
    """Put networks behind the targets, and freeze everything but them and what is trained whole."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found = [path for path, _ in model.named_modules() if any(_ends(path, name) for name in targets)]
    if not found:
        raise PassError(f"no layer is called {' or '.join(targets)}: there is nothing to put an adapter behind")
    for path in found:
        parent, _, name = path.rpartition(".")
        owner = model.get_submodule(parent)
        layer = getattr(owner, name)
        width = getattr(layer, "out_features", None) or getattr(layer, "nf", None)
        if width is None:
            raise PassError(f"{path} is no linear layer: there is no adapter to put behind it")
        network = Bottlenecked(layer, width, size, activation).to(next(layer.parameters()).device)
        setattr(owner, name, network)
    for path, layer in model.named_modules():
        if any(_ends(path, name) for name in whole):
            layer.float().requires_grad_(True)
    model.olive_like_bottleneck = {
        "peft_type": KIND, "size": size, "activation": activation, "target_modules": targets, "modules_to_save": whole
    }  # fmt: skip
    return model


def default_targets(model: Any) -> list[str]:
    """The architecture's feed-forward outputs."""
    paths = [path for path, _ in model.named_modules()]
    for name in _DEFAULTS:
        inside = [path for path in paths if _ends(path, name) and "attention" not in path and "attn" not in path]
        if inside:
            return sorted(inside)
    raise PassError("the architecture's feed-forward layers are not known", "Name them with `target_modules`.")


def save(model: Any, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """The networks and what was trained whole, in one safetensors file; `state` where ranks share the weights."""
    found = state if state is not None else {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    trained = {name: tensor.contiguous().cpu() for name, tensor in found.items()}
    save_file(trained, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    text = json.dumps(model.olive_like_bottleneck, indent=2, sort_keys=True)
    (folder / "adapter_config.json").write_text(text + "\n", "utf-8")


def attach(model: Any, folder: Path, settings: dict[str, Any]) -> Any:
    """Put the networks of a folder onto their base."""
    add(model, settings["size"], settings["activation"], settings["target_modules"], settings["modules_to_save"])
    state = load_file(folder / "adapter_model.safetensors")
    wanted = {name: parameter.shape for name, parameter in model.named_parameters() if parameter.requires_grad}
    if wanted != {name: tensor.shape for name, tensor in state.items()}:
        raise PassError(f"the adapter in {folder} is for another base model")
    model.load_state_dict(state, strict=False)
    return model


def _ends(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")
