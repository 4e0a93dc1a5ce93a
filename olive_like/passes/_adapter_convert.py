"""Adapters in peft's form, or held in a checkpoint, to files that a graph takes its inputs from."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from olive_like.errors import PassError
from olive_like.passes._adapter_files import Arrays, write_adapter
from olive_like.passes.adapter_names import in_graph, parsed
from olive_like.passes.weights import check_folder


def convert_adapter(folder: Path, target: Path, form: str, dtype: str) -> Path:
    """One peft adapter as one file: matrices transposed and scaled as MultiAdapterConversion's graphs want them."""
    check_folder(folder)
    settings = _settings(folder)
    found: Arrays = {}
    for name, tensor in _tensors(folder):
        place = parsed(name)
        if place is None:
            raise PassError(
                f"{folder} has {name}, which is no matrix of a LoRA adapter",
                "generate-adapter takes DoRA as well, because it has the base; or merge the adapter.",
            )
        found[in_graph(*place[:2])] = _as_input(tensor, place, settings, dtype)
    if not found:
        raise PassError(f"{folder} has no LoRA matrices")
    target.parent.mkdir(parents=True, exist_ok=True)
    return write_adapter(found, target, form)


def extract_adapters(folder: Path, output: Path, form: str, dtype: str) -> dict[str, Path]:
    """Each adapter that a checkpoint holds beside its own weights, as a file."""
    check_folder(folder)
    adapters: dict[str, Arrays] = {}
    for name, tensor in _tensors(folder):
        place = parsed(name)
        if place is not None:
            arrays = adapters.setdefault(place[2] or "adapter", {})
            arrays[in_graph(*place[:2])] = tensor.T.to(getattr(torch, dtype)).contiguous().numpy()
    if not adapters:
        raise PassError(f"{folder} holds no LoRA weights", "For an adapter's own folder there is convert-adapters.")
    output.mkdir(parents=True, exist_ok=True)
    return {name: write_adapter(arrays, output / name, form) for name, arrays in sorted(adapters.items())}


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    except OSError:
        raise PassError(f"{folder} is no adapter: it has no adapter_config.json") from None
    except ValueError as error:
        raise PassError(f"{folder / 'adapter_config.json'} is not JSON: {error}") from None
    if settings.get("peft_type") != "LORA" or settings.get("use_dora"):
        kind = "DORA" if settings.get("use_dora") else settings.get("peft_type")
        raise PassError(f"{folder} is an adapter of type {kind}", "Without its base only LoRA can be converted.")
    return settings


def _tensors(folder: Path) -> list[tuple[str, torch.Tensor]]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise PassError(f"{folder} has no safetensors file")
    found = []
    for path in files:
        with safe_open(path, framework="pt") as file:
            found += [(name, file.get_tensor(name)) for name in file.keys() if parsed(name) or len(files) == 1]  # noqa: SIM118
    return found


def _as_input(tensor: torch.Tensor, place: tuple[str, str, str | None], settings: dict[str, Any], dtype: str) -> Any:
    layer, part, _ = place
    if tensor.dim() != 2:
        raise PassError(f"the adapter changes {layer}, which is no linear layer")
    matrix = tensor.float().T
    if part == "B":
        rank = matrix.shape[0]
        alpha = _by_pattern(settings.get("alpha_pattern") or {}, layer, settings.get("lora_alpha", rank))
        matrix = matrix * (alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank))
    return np.ascontiguousarray(matrix.to(getattr(torch, dtype)).numpy())


def _by_pattern(patterns: dict[str, float], layer: str, default: float) -> float:
    """The value of the first pattern that a layer's path ends with, as peft finds it."""
    return next((value for end, value in patterns.items() if re.match(rf"(.*\.)?({end})$", layer)), default)
