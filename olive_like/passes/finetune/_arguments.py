"""Training arguments of transformers, from our settings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import accelerate.utils.other
import torch
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.finetune import _trackers
from olive_like.passes.finetune.settings import TrainingSettings
from olive_like.systems import zero


def arguments(
    config: TrainingSettings,
    context: Context,
    *,
    batch: int,
    accumulation: int,
    steps: int,
    evaluates: bool,
    dtype: torch.dtype,
    deepspeed: dict[str, Any] | None,
) -> TrainingArguments:
    """Ours in transformers' words. Ranks find each other here, and each its device."""
    known = [one.value for one in OptimizerNames]
    if config.optim not in known:
        near = get_close_matches(config.optim, known, 1)
        raise PassError(
            f"there is no optimizer {config.optim!r}{f'; did you mean {near[0]}?' if near else ''}",
            f"There are: {', '.join(known)}.",
        )
    best = bool(config.early_stopping) or config.load_best_model_at_end
    strategy = config.eval_strategy or ("steps" if evaluates else "no")
    if not evaluates:
        strategy = "no"
    every = max(1, round(steps / 10))
    eval_steps = config.eval_steps or every
    saving = strategy if best else "steps"
    warmup = config.warmup_steps or config.warmup_ratio
    fsdp = context.launch.get("fsdp")
    made = TrainingArguments(
        output_dir=str(context.scratch),
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=config.per_device_eval_batch_size,
        gradient_accumulation_steps=accumulation,
        max_steps=config.max_steps,
        num_train_epochs=config.num_train_epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler_type,
        lr_scheduler_kwargs=dict(config.lr_scheduler_kwargs) or None,
        warmup_steps=warmup,
        weight_decay=config.weight_decay,
        optim=config.optim,
        optim_args=config.optim_args,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        max_grad_norm=config.max_grad_norm,
        neftune_noise_alpha=config.neftune_noise_alpha,
        bf16=bool(deepspeed) and dtype is torch.bfloat16,
        fp16=dtype is torch.float16,
        tf32=config.tf32 if context.device == "cuda" else None,
        **_checkpointing(config),
        torch_compile=config.torch_compile,
        logging_strategy="steps",
        logging_steps=config.logging_steps,
        logging_first_step=config.logging_first_step,
        logging_nan_inf_filter=False,
        eval_strategy=strategy,
        eval_steps=eval_steps if strategy == "steps" else None,
        save_strategy=saving,
        save_steps=eval_steps if best and strategy == "steps" else config.save_steps or every,
        save_total_limit=config.save_total_limit,
        load_best_model_at_end=best,
        metric_for_best_model="eval_loss" if best else None,
        greater_is_better=False if best else None,
        restore_callback_states_from_checkpoint=True,
        seed=config.train_seed(context.seed),
        use_cpu=context.device == "cpu",
        dataloader_num_workers=config.dataloader_num_workers,
        dataloader_pin_memory=context.device == "cuda",
        remove_unused_columns=False,
        report_to=_trackers.chosen(config, context),
        run_name=config.run_name,
        disable_tqdm=True,
        log_level="error",
        ddp_timeout=config.ddp_timeout,
        ddp_find_unused_parameters=config.ddp_find_unused_parameters,
        deepspeed=deepspeed,
        fsdp=True if fsdp is not None else None,
        fsdp_config=dict(fsdp) if fsdp is not None else None,
    )
    _ = made.device  # this is what joins them
    return made


def _checkpointing(config: TrainingSettings) -> dict[str, Any]:
    """Recomputing activations, by the name that the installed transformers has for it."""
    if not config.gradient_checkpointing:
        return {}
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    return {name: True, f"{name}_kwargs": {"use_reentrant": False, **config.gradient_checkpointing_kwargs}}


@contextmanager
def spared_import(config: TrainingSettings, context: Context) -> Iterator[None]:
    """Keep accelerate from importing DeepSpeed, which takes a second, only to ask whether a model is one of its."""
    kept = accelerate.utils.other.is_deepspeed_available
    if deepspeed_settings(config, context) is None:
        accelerate.utils.other.is_deepspeed_available = lambda: False
    try:
        yield
    finally:
        accelerate.utils.other.is_deepspeed_available = kept


def deepspeed_settings(config: TrainingSettings, context: Context) -> dict[str, Any] | None:
    """DeepSpeed's settings: those that the system launches with, the pass's own merged in."""
    own: Any = config.deepspeed
    if isinstance(own, Path):
        own = _read(own)
    ours = context.launch.get("deepspeed")
    if not ours:
        return own or None
    try:
        return zero.merged(ours, own or {})
    except zero.Conflict as conflict:
        raise PassError(
            f"the pass and the system contradict each other: {str(conflict).replace('ds_config', 'deepspeed')}",
            "Leave one of the two out.",
        ) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise PassError(f"{file} is not JSON: {error}", "It holds DeepSpeed's settings.") from None
    if not isinstance(settings, dict):
        raise PassError(f"{file} is not a mapping of DeepSpeed's settings")
    return settings
