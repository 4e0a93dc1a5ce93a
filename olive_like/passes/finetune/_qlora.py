"""A base in 4 bits."""

from __future__ import annotations

from typing import Any

import bitsandbytes
import torch
from transformers import BitsAndBytesConfig

from olive_like.passes._models import torch_dtype


def quantization(config: Any, dtype: torch.dtype) -> BitsAndBytesConfig:
    """How the base's weights are held while it is trained on."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.quant_type,
        bnb_4bit_use_double_quant=config.double_quant,
        bnb_4bit_compute_dtype=torch_dtype(config.compute_dtype) if config.compute_dtype else dtype,
    )


def prepare(model: Any) -> None:
    """Freeze the base and keep its layers as they are.

    On CPUs with bfloat16 instructions an evaluation repacks the weights, and the gradients after it are wrong
    without a word; so that path is closed.
    """
    for layer in model.modules():
        if isinstance(layer, bitsandbytes.nn.Linear4bit):
            layer.support_avx512bf16_for_cpu = False
    for parameter in model.parameters():
        parameter.requires_grad_(False)
