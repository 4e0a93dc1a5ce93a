"""What the device is fast at: asked, not assumed."""

from __future__ import annotations

import torch

from olive_like.passes._models import torch_dtype
from olive_like.passes.base import Context
from olive_like.passes.finetune.settings import TrainingSettings


def bf16_is_fast(device: str) -> bool:
    """Whether products of bfloat16 matrices have instructions of their own here."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def compute_dtype(config: TrainingSettings, context: Context) -> torch.dtype:
    """The numbers to train in: what is asked for where the device has it, else the nearest, said aloud."""
    device = context.device
    asked = "bfloat16" if config.bf16 else "float16" if config.fp16 else config.torch_dtype
    best = torch.bfloat16 if bf16_is_fast(device) else torch.float16 if device == "cuda" else torch.float32
    wanted = torch_dtype(asked)
    if isinstance(wanted, str):
        context.note(f"computes in {_name(best)}, which this device is fast at")
        return best
    if wanted is torch.float16 and device != "cuda":
        context.warn(f"float16 cannot be trained on a CPU (gradients vanish, products are slow); {_name(best)} it is")
        return best
    if wanted is torch.bfloat16 and device != "cuda" and best is torch.float32:
        context.warn("this CPU has no instructions for bfloat16: float32 would be several times faster")
    return wanted


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
