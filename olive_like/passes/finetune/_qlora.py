"""A base in 4 bits."""

from __future__ import annotations

from typing import Any

import bitsandbytes
import torch
import transformers
from transformers import BitsAndBytesConfig
from transformers.quantizers.base import HfQuantizer

from olive_like.passes._models import torch_dtype
from olive_like.passes.finetune._build import check_names
from olive_like.passes.finetune.layers import means
from olive_like.passes.tasks import AUTO_CLASSES


def quantization(config: Any, dtype: torch.dtype, whole: list[str] | None = None) -> BitsAndBytesConfig:
    """How the base's weights are held while it is trained on; `whole` are not held in 4 bits."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.quant_type,
        bnb_4bit_use_double_quant=config.double_quant,
        bnb_4bit_compute_dtype=torch_dtype(config.compute_dtype) if config.compute_dtype else dtype,
        llm_int8_skip_modules=whole,
    )


def kept_whole(names: list[str], settings: Any, task: str, trust: bool) -> list[str]:
    """Those layers, and those that never are held in 4 bits, which go with no list of one's own."""
    with torch.device("meta"):
        empty = getattr(transformers, AUTO_CLASSES[task]).from_config(settings, trust_remote_code=trust)
    check_names(empty, names, "skip_modules")
    chosen = {
        path
        for path, layer in empty.named_modules()
        if isinstance(layer, torch.nn.Linear) and any(means(name, path) for name in names)
    }
    return sorted(chosen | set(HfQuantizer.get_modules_to_not_convert(empty)))


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
