"""An adapter that starts where the base lost most by being held in 4 bits (LoftQ).

peft has this for GPUs alone, with a base that is quantised later; here the base is in 4 bits already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bitsandbytes
import torch
from peft.tuners.lora import Linear4bit
from safetensors import safe_open
from transformers.pytorch_utils import Conv1D

from olive_like.errors import PassError
from olive_like.passes.weights import read_header


def start(model: Any, folder: Path, iterations: int) -> None:
    """Turn by turn: the adapter becomes the best of its rank for what quantising lost, the base what is left to it."""
    files = {name: file for file in sorted(folder.glob("*.safetensors")) for name in read_header(file)}
    prefix = f"{model.get_base_model().base_model_prefix}."
    for path, layer in model.named_modules():
        if not isinstance(layer, Linear4bit):
            continue
        if issubclass(getattr(layer.get_base_layer(), "source_cls", object), Conv1D):
            raise PassError(
                f"LoftQ does not take {path}: its weight is stored turned round, as GPT-2's are",
                "Use QLoRA or LoRA here.",
            )
        name = f"{path.removeprefix('base_model.model.')}.weight"
        name = name if name in files else name.removeprefix(prefix)
        if name not in files:
            raise PassError(f"{folder} has no weight {name} to compare the quantised one with", "Use QLoRA here.")
        with safe_open(files[name], "pt") as opened:
            whole = opened.get_tensor(name).to(layer.weight.device, torch.float32)
        _start_layer(layer, whole, iterations)


@torch.no_grad()
def _start_layer(layer: Any, whole: torch.Tensor, iterations: int) -> None:
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    scale = layer.scaling["default"]
    weight = layer.get_base_layer().weight
    for turn in range(iterations):
        if turn:
            weight = bitsandbytes.nn.Params4bit(
                (whole - scale * up @ down).to(weight.quant_state.dtype),
                requires_grad=False,
                quant_type=weight.quant_type,
                compress_statistics=weight.compress_statistics,
                blocksize=weight.blocksize,
            ).to(whole.device)
            layer.get_base_layer().weight = weight
        held = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state).to(torch.float32)
        left, sizes, right = torch.linalg.svd(whole - held, full_matrices=False)
        rank = down.shape[0]
        root = sizes[:rank].sqrt()
        up.copy_(left[:, :rank] * root / scale)
        down.copy_(root[:, None] * right[:rank])
