"""What DeepSpeed alone needs."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed import ops
from deepspeed.checkpoint import ds_to_universal
from deepspeed.utils import safe_get_full_fp32_param
from torch.utils import cpp_extension


def begin(device: str) -> None:
    """Bring the ranks together before any weight is loaded: stage 3 shares weights out as they are read."""
    if device == "cpu":
        # Compiling it takes a minute and a compiler; gloo does the same.
        ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not deepspeed.comm.is_initialized():
        deepspeed.init_distributed(dist_backend="nccl" if device == "cuda" else "gloo", verbose=False)


def can_build() -> bool:
    """Whether what compiles DeepSpeed's optimizer for processors beside a GPU is there."""
    there = cpp_extension.CUDA_HOME is not None and cpp_extension.is_ninja_available()
    return there and shutil.which(os.environ.get("CXX", "c++")) is not None


def make_universal(checkpoint: Path, rank: int, device: str) -> None:
    """Write what any number of ranks can read beside the parts that some wrote; the others wait for rank 0."""
    if rank == 0 and not (checkpoint / "latest_universal").exists():
        parts = checkpoint / (checkpoint / "latest").read_text().strip()
        whole = parts.with_name(f"{parts.name}_universal")
        told = argparse.Namespace(
            input_folder=str(parts),
            output_folder=str(whole),
            num_extract_workers=1,
            num_merge_workers=1,
            keep_temp_folder=False,
            strict=True,
            inject_missing_state=True,
        )
        shutil.rmtree(whole, ignore_errors=True)
        ds_to_universal.main(told)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    deepspeed.comm.barrier()


def gathered(model: Any, everything: bool, rank: int) -> dict[str, torch.Tensor]:
    """Weights on rank 0, one after the other; those that were trained in full precision."""
    state: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        if not (everything or parameter.requires_grad):
            continue
        value = _value(parameter)
        if rank == 0:
            state[name] = value.detach().to("cpu", copy=True)
    if everything and rank == 0:
        kept = set(model.state_dict().keys())
        state |= {name: buffer.detach().cpu() for name, buffer in model.named_buffers() if name in kept}
    return state


def _value(parameter: torch.nn.Parameter) -> torch.Tensor:
    """The whole tensor; every rank has to ask for it."""
    if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
        full = safe_get_full_fp32_param(parameter)
        if full is not None:
            return full.view(getattr(parameter, "ds_shape", parameter.shape))
    if not hasattr(parameter, "ds_id"):
        return parameter.data
    with deepspeed.zero.GatheredParameters([parameter]):
        return parameter.data.clone()
