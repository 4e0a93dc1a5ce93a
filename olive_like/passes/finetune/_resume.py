"""Where an interrupted training goes on, also with another number of ranks."""

from __future__ import annotations

import json
import shutil
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


class Checkpoint(NamedTuple):
    """A whole checkpoint and who wrote it."""

    folder: Path
    writers: Ranks
    batches: tuple[int, int] | None  # examples in each, and how many make a step of a rank

    @property
    def step(self) -> int:
        return _step(self.folder)


class Start(NamedTuple):
    """The checkpoint to go on from, if any, and the settings with which DeepSpeed reads it."""

    checkpoint: str | None
    deepspeed: dict[str, Any] | None


def start(
    config: TrainingSettings, context: Context, deepspeed: dict[str, Any] | None, batches: tuple[int, int]
) -> Start:
    """The last checkpoint of an interrupted run that can be read. Every rank has to ask: it may be converted."""
    found = _checkpoints(context, deepspeed) if config.resume else []
    ours = Ranks(context.world_size, stage(deepspeed))
    obstacles = [_obstacle(one.writers, ours, config, context) for one in found]
    if "" not in obstacles:
        if found:
            context.note(
                f"the interrupted run had come to step {found[0].step}, but {obstacles[0]}: this one starts anew"
            )
        return Start(None, deepspeed)
    last = found[obstacles.index("")]
    context.note(f"goes on from step {last.step} of the interrupted run{_difference(last, ours, batches)}")
    if deepspeed and last.writers != ours:
        from olive_like.passes.finetune import _deepspeed

        _deepspeed.make_universal(last.folder, context.rank, context.device)
        deepspeed = {**deepspeed, **_UNIVERSAL}
    return Start(str(last.folder), deepspeed)


def drop_after(scratch: Path, step: int) -> None:
    """Remove the later checkpoints, which were not gone on from: they would pass for this training's last ones."""
    for folder in scratch.glob("checkpoint-*"):
        if _step(folder) > step:
            shutil.rmtree(folder)


def _difference(last: Checkpoint, ours: Ranks, batches: tuple[int, int]) -> str:
    """How the interrupted run shared out the examples of a step, where that was another way: it is another key's."""
    if last.writers.count != ours.count:
        return f", which had {_said(last.writers.count)}"
    if last.batches is not None and last.batches != batches:
        return f", which had batches of {last.batches[0]} and {last.batches[1]} of them to a step"
    return ""


def _checkpoints(context: Context, deepspeed: Mapping[str, Any] | None) -> list[Checkpoint]:
    """The whole ones, the last first. The state file is written last.

    Where ranks share the optimizer the libraries name its files.
    """
    shared = bool(deepspeed) or context.launch.get("fsdp") is not None
    found = []
    for folder in sorted(context.scratch.glob("checkpoint-*"), key=_step, reverse=True):
        if not all(_is_whole(folder / name) for name in (_FILES[:1] if shared else _FILES)):
            continue
        checkpoint = _read(folder)
        if checkpoint is None:
            continue
        count = checkpoint.writers.count
        noise = ["rng_state.pth"] if count == 1 else [f"rng_state_{n}.pth" for n in range(count)]
        if all(_is_whole(folder / name) for name in noise):
            found.append(checkpoint)
    return found


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _read(folder: Path) -> Checkpoint | None:
    """What the state file says; None if it is not whole."""
    try:
        state = json.loads((folder / _FILES[0]).read_text("utf-8"))
    except ValueError:
        return None
    said = state["stateful_callbacks"]["StepLosses"]["attributes"]
    batches = said.get("batches")  # a checkpoint of an earlier version has none
    return Checkpoint(folder, Ranks(*said["ranks"]), tuple(batches) if batches else None)


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
