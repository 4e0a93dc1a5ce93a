"""The work of MergeAdapterWeights."""

from __future__ import annotations

from typing import Any

import torch

from olive_like.artifacts import Adapter, HfModel
from olive_like.errors import PassError
from olive_like.passes._models import (
    load_config,
    load_model,
    load_tokenizer,
    share_model,
    task_for,
    tokenizer_folder,
    torch_dtype,
)
from olive_like.passes.base import Context


def merge(adapter: Adapter, dtype: str, context: Context) -> HfModel:
    """Merge in float32: what an adapter adds is often smaller than bfloat16 can tell from nothing."""
    torch.set_num_threads(context.threads)
    settings = load_config(adapter)
    if getattr(settings, "quantization_config", None):
        raise PassError(
            "the base's weights are quantised: an adapter cannot be merged into them",
            "Merge onto the model before it was quantised, then quantise the result.",
        )
    task = task_for(adapter)
    model = load_model(adapter, task, torch.float32)
    if not hasattr(model, "merge_and_unload"):
        raise PassError("a bottleneck adapter is no change of weights: it cannot be merged", "Keep it beside its base.")
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except (ValueError, NotImplementedError, AttributeError) as error:
        kind = model.peft_config["default"].peft_type.value
        raise PassError(f"an adapter of type {kind} cannot be merged: {error}", "Keep it beside its base.") from error
    target = torch_dtype(dtype)
    if isinstance(target, str):
        target = getattr(settings, "dtype", None) or torch.float32
    merged.to(target)
    merged.config.dtype = target
    merged.save_pretrained(context.output, safe_serialization=True)
    if tokenizer_folder(adapter) is not None:
        load_tokenizer(adapter).save_pretrained(context.output)
    share_model(merged, task, context)
    kept: dict[str, Any] = {"task": task}
    if adapter.base.load_kwargs:
        kept["load_kwargs"] = adapter.base.load_kwargs
    return HfModel(context.output, kept)
