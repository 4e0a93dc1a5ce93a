"""An interrupted training goes on where it stopped and ends with the same weights, bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from olive_like.artifacts import HfModel
from olive_like.passes.finetune import adapters
from olive_like.passes.finetune.full import FullFinetune
from tests.finetune.helpers import SUMS, prepare, run, same_files
from tests.tiny_models import tiny_llama

pytestmark = pytest.mark.heavy

SETTINGS: dict[str, Any] = {
    "max_steps": 13,
    "save_steps": 3,
    "save_total_limit": 10,
    "learning_rate": 1e-2,
    "eval_steps": 4,
    "batch_size": 4,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.2,
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> HfModel:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize(
    ("cls", "extra"),
    [
        (adapters.LoRA, {"r": 4, "lora_dropout": 0.3}),
        (adapters.LoRA, {"r": 4, "gradient_accumulation_steps": 2}),
        (adapters.PiSSA, {"r": 4}),
        (adapters.Adapter, {"size": 8}),
        (FullFinetune, {}),
    ],
)
@pytest.mark.parametrize("kept", [3, 9])
def test_the_same_weights(cls: Any, extra: dict[str, Any], kept: int, llama: HfModel, tmp_path: Path) -> None:
    data = prepare(llama, tmp_path / "data", rows=SUMS, eval_fraction=0.2)
    whole, _ = run(cls, llama, tmp_path / "whole", data, **SETTINGS, **extra)
    scratch = tmp_path / "whole" / "scratch"
    for folder in scratch.glob("checkpoint-*"):
        if int(folder.name.rpartition("-")[2]) > kept:
            shutil.rmtree(folder)
    torn = scratch / "checkpoint-12"  # what a crash in the midst of saving leaves
    shutil.copytree(scratch / f"checkpoint-{kept}", torn)
    (torn / "trainer_state.json").unlink()
    again, said = run(cls, llama, tmp_path / "again", data, scratch=scratch, **SETTINGS, **extra)
    assert any(f"goes on from step {kept} " in text for text in said.texts("note"))
    assert same_files(whole.path, again.path) == []


def test_resume_can_be_switched_off(llama: HfModel, tmp_path: Path) -> None:
    data = prepare(llama, tmp_path / "data", rows=SUMS)
    scratch = tmp_path / "a" / "scratch"
    settings = {"r": 4, "max_steps": 4, "save_total_limit": 10}
    run(adapters.LoRA, llama, tmp_path / "a", data, save_steps=2, **settings)
    assert (scratch / "checkpoint-2").exists()
    _, said = run(adapters.LoRA, llama, tmp_path / "b", data, scratch=scratch, resume=False, save_steps=3, **settings)
    assert not any("goes on from step" in text for text in said.texts("note"))
    assert not (scratch / "checkpoint-2").exists(), "what was not gone on from makes way for the new ones"
    assert (scratch / "checkpoint-3").exists()


def test_early_stopping_keeps_the_best(llama: HfModel, tmp_path: Path) -> None:
    few = prepare(llama, tmp_path / "few", rows=SUMS[:4])
    other = prepare(llama, tmp_path / "other", rows=[{"prompt": "anna", "completion": " flew to paris " * 3}])
    settings = {"max_steps": 60, "eval_steps": 2, "learning_rate": 5e-2, "r": 8, "logging_steps": 2}
    stop = {"early_stopping": {"patience": 3, "min_delta": 0.01}}
    made, said = run(adapters.LoRA, llama, tmp_path / "a", few, other, **settings, **stop)
    losses = said.losses("eval_loss")
    assert len(losses) < 30
    assert any("stopped early at step" in text for text in said.texts("note"))
    assert said.metrics()["eval_loss"] == min(losses) < losses[-1]
    best = {"max_steps": 2 * (1 + losses.index(min(losses)))}
    assert made.path.joinpath("adapter_model.safetensors").stat().st_size > 0
    assert best["max_steps"] < 60


def test_over_fitting_is_said(llama: HfModel, tmp_path: Path) -> None:
    few = prepare(llama, tmp_path / "few", rows=SUMS[:4])
    other = prepare(llama, tmp_path / "other", rows=[{"prompt": "anna", "completion": " flew to paris " * 3}])
    settings = {"max_steps": 40, "eval_steps": 3, "learning_rate": 5e-2, "r": 8, "logging_steps": 3, "save_steps": 100}
    _, said = run(adapters.LoRA, llama, tmp_path / "a", few, other, **settings)
    assert any(text.startswith("over-fitting: ") for text in said.texts("warning"))
