"""Where an interrupted training goes on, also with another number of ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformers import TrainingArguments

from olive_like.passes.base import Context
from olive_like.passes.finetune.misfits import stage
from olive_like.passes.finetune.settings import TrainingSettings

_FILES = ("trainer_state.json", "optimizer.pt", "scheduler.pt")
_UNIVERSAL = {"checkpoint": {"load_universal": True}}


class Ranks(NamedTuple):
    """Who wrote a checkpoint."""

    count: int
    stage: int | None = None  # of DeepSpeed

    @classmethod
    def of(cls, arguments: TrainingArguments) -> Ranks:
        settings = arguments.hf_deepspeed_config if arguments.deepspeed else None
        return cls(arguments.world_size, stage(settings.config if settings else None))


class Start(NamedTuple):
    """The checkpoint to go on from, if any, and the settings with which DeepSpeed reads it."""

    checkpoint: str | None
    deepspeed: dict[str, Any] | None


def start(config: TrainingSettings, context: Context, deepspeed: dict[str, Any] | None) -> Start:
    """The last whole checkpoint of an interrupted run. Every rank has to ask: it may have to be converted."""
    found = _last(config, context, deepspeed) if config.resume else None
    if found is None:
        return Start(None, deepspeed)
    folder, writers = found
    ours = Ranks(context.world_size, stage(deepspeed))
    step = folder.name.rpartition("-")[2]
    if why := _obstacle(writers, ours, config, context):
        context.note(f"the interrupted run had come to step {step}, but {why}: this one starts anew")
        return Start(None, deepspeed)
    with_ranks = "" if writers.count == ours.count else f", which had {_said(writers.count)}"
    context.note(f"goes on from step {step} of the interrupted run{with_ranks}")
    if deepspeed and writers != ours:
        from olive_like.passes.finetune import _deepspeed

        _deepspeed.make_universal(folder, context.rank, context.device)
        deepspeed = {**deepspeed, **_UNIVERSAL}
    return Start(str(folder), deepspeed)


def _last(config: TrainingSettings, context: Context, deepspeed: Mapping[str, Any] | None) -> tuple[Path, Ranks] | None:
    """The state file is written last. Where ranks share the optimizer the libraries name its files."""
    shared = bool(deepspeed) or context.launch.get("fsdp") is not None
    folders = sorted(context.scratch.glob("checkpoint-*"), key=lambda p: -int(p.name.rpartition("-")[2]))
    for folder in folders:
        if not all(_is_whole(folder / name) for name in (_FILES[:1] if shared else _FILES)):
            continue
        writers = _writers(folder)
        if writers is None:
            continue
        noise = ["rng_state.pth"] if writers.count == 1 else [f"rng_state_{n}.pth" for n in range(writers.count)]
        if all(_is_whole(folder / name) for name in noise):
            return folder, writers
    return None


def _writers(folder: Path) -> Ranks | None:
    """What the state file says; None if it is not whole."""
    try:
        state = json.loads((folder / _FILES[0]).read_text("utf-8"))
    except ValueError:
        return None
    return Ranks(*state["stateful_callbacks"]["StepLosses"]["attributes"]["ranks"])


def _obstacle(writers: Ranks, ours: Ranks, config: TrainingSettings, context: Context) -> str:
    """Why this training cannot go on from there; empty if it can."""
    if writers == ours:
        return ""
    had, have = _said(writers.count), _said(ours.count)
    if context.launch.get("fsdp") is not None:
        return f"under FSDP what {had} wrote is not read by {have}"
    if ours.stage is None:
        return ""  # each rank has everything
    if writers.stage != ours.stage and {writers.stage, ours.stage} != {1, 2}:
        return f"under stage {writers.stage}, which stage {ours.stage} cannot read"
    if not ours.stage:
        return f"without ZeRO what {had} wrote is not read by {have}"
    if not config.optim.startswith("adamw"):
        return f"DeepSpeed converts checkpoints of {had} for {have} with Adam only, not {config.optim}"
    if ours.stage == 3 and config.weight_decay:
        return f"at stage 3 DeepSpeed does not convert checkpoints of {had} for {have} with a weight decay"
    if config.early_stopping or config.load_best_model_at_end:
        return f"its best weights are those of {had}, and here are {have}"
    return ""


def _said(count: int) -> str:
    return "one rank" if count == 1 else f"{count} ranks"


def _is_whole(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0
