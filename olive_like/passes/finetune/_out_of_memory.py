"""What to say when memory is out."""

from __future__ import annotations

import torch

from olive_like.artifacts import Artifact
from olive_like.passes.finetune.memory import estimate
from olive_like.passes.finetune.settings import TrainingSettings


def is_out_of_memory(error: BaseException) -> bool:
    words = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(w in str(error).lower() for w in words)


def words(method: str, source: Artifact, config: TrainingSettings, batch: int) -> tuple[str, str]:
    need = estimate(method, source, config)
    said = f", the estimate was {need / 2**30:.1f} GiB" if need else ""
    helps = []
    if batch > 1:
        helps.append(f"`per_device_train_batch_size: {batch // 2}` with twice the accumulation (or `auto_batch: true`)")
    if not config.gradient_checkpointing:
        helps.append("`gradient_checkpointing: true`")
    helps.append("a smaller `max_seq_len` in the data config")
    if method in ("lora", "dora", "full") and len(helps) < 3:
        helps.append("the pass `QLoRA`" if method != "full" else "the pass `LoRA`")
    return f"out of memory at batches of {batch}{said}", "What would help most: " + "; ".join(helps[:3]) + "."
