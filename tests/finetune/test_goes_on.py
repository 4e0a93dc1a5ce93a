"""Which checkpoint a training goes on from, and which trainings can go on from each other's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from olive_like.marks import semantic
from olive_like.passes.base import Context
from olive_like.passes.finetune import _resume
from olive_like.passes.finetune.adapters import LoRA
from olive_like.passes.finetune.settings import TrainingSettings

ZERO: dict[str, Any] = {"zero_optimization": {"stage": 2}}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path / "output", tmp_path)


def write(folder: Path, step: int, ranks: list[int | None], batches: list[int] | None = None) -> None:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir()
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "rng_state_0.pth", "rng_state_1.pth"):
        (checkpoint / name).write_bytes(b"x")
    said = {"losses": [], "ranks": ranks, **({"batches": batches} if batches else {})}
    state = {"stateful_callbacks": {"StepLosses": {"args": {}, "attributes": said}}}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))


def start(context: Context, deepspeed: dict[str, Any] | None = None, **settings: Any) -> tuple[str | None, list[str]]:
    """The checkpoint's name, and what is said."""
    notes: list[str] = []
    told = replace(context, emit=lambda kind, values: notes.append(values["text"]))
    found = _resume.start(TrainingSettings(**settings), told, deepspeed, (4, 1)).checkpoint
    return found and Path(found).name, notes


def test_one_that_cannot_be_read_hides_none_that_can(context: Context) -> None:
    write(context.scratch, 3, [1, 2])
    write(context.scratch, 9, [1, 3])
    assert start(context, ZERO) == ("checkpoint-3", ["goes on from step 3 of the interrupted run"])


def test_where_none_can_be_read_the_last_one_says_why(context: Context) -> None:
    write(context.scratch, 3, [1, 3])
    write(context.scratch, 9, [2, 3])
    found, notes = start(context, ZERO)
    assert found is None
    assert notes == [
        "the interrupted run had come to step 9, but under stage 3, which stage 2 cannot read: this one starts anew"
    ]


@pytest.mark.parametrize(
    ("ranks", "batches", "said"),
    [
        ([1, None], [4, 1], ""),
        ([1, None], None, ""),
        ([1, None], [2, 2], ", which had batches of 2 and 2 of them to a step"),
        ([2, None], [2, 1], ", which had 2 ranks"),
    ],
)
def test_it_says_how_the_other_shared_out_a_step(
    ranks: list[int | None], batches: list[int] | None, said: str, context: Context
) -> None:
    write(context.scratch, 3, ranks, batches)
    assert start(context) == ("checkpoint-3", [f"goes on from step 3 of the interrupted run{said}"])


def test_later_ones_go(context: Context) -> None:
    for step in (3, 9, 12):
        write(context.scratch, step, [1, None])
    _resume.drop_after(context.scratch, 3)
    assert [path.name for path in context.scratch.iterdir()] == ["checkpoint-3"]


def family(world: int | None, batch: int, **settings: Any) -> Any:
    config = LoRA.Config(per_device_train_batch_size=batch, **settings)
    document = {
        "settings": config.model_dump(mode="json", exclude={"resume"}),
        "system": {"device": "cpu", "world_size": world},
    }
    return LoRA.checkpoints_stand_on(config, document)


def test_who_can_go_on_from_whose(tmp_path: Path) -> None:
    assert family(2, 4) == family(1, 8) == family(None, 8) != family(2, 8)
    assert family(2, 4) == family(2, 4, per_device_eval_batch_size=1)
    assert semantic(LoRA.Config()) != semantic(LoRA.Config(per_device_eval_batch_size=1)), "it is in the history"
    assert family(2, 4, resume=False) is None
    assert family(2, 4, loss={"script": tmp_path / "my_loss.py", "name": "loss"}) is None
