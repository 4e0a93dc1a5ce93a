"""Looser files: settings of training and of a search at the top, a data set that nobody names."""

from __future__ import annotations

from pathlib import Path

import pytest

from olive_like.workflow.read import read as read_file
from tests.dialects.reading import Read, codes

MODEL = "model: {type: PyTorchModel, config: {model_path: a/b, task: text-generation}}\n"
DATA = """
data_configs:
  - name: rows
    type: HuggingfaceContainer
    load_dataset_config: {data_files: rows.json, split: train}
    pre_process_data_config: {text_template: "{question} {answer}"}
"""


def test_a_whole_file(tmp_path: Path) -> None:
    """Nothing of the looser form is left for the schema to stumble over."""
    file = tmp_path / "w.yaml"
    file.write_text(
        MODEL
        + DATA
        + """
passes:
  tune:
    type: LoRA
    config: {r: 4, lora_alpha: 8, target_modules: [c_attn], weight_decay: 0.01}
training_config: {lr_scheduler_type: cosine, optim: adamw_torch, dataloader_num_workers: 2}
search_strategy: {type: random, num_trials: 5}
search_space:
  learning_rate: {type: float, low: 1e-6, high: 1e-3, log: true}
  lora_r: {type: int, low: 2, high: 8}
  batch_size: {type: choice, values: [1, 2]}
"""
    )
    result = read_file(file)
    assert not [d for d in result.diagnostics if d.severity.value == "error"]
    assert result.workflow is not None
    entry = result.workflow.passes["tune"]
    config = entry.config.model_dump()
    assert (config["alpha"], config["weight_decay"], config["lr_scheduler_type"]) == (8, 0.01, "cosine")
    assert config["train_data_config"] == "rows"
    assert {path[-1] for path in entry.spaces} == {"learning_rate", "r", "batch_size"}
    assert result.workflow.layout == "olive"


def test_a_data_set_that_nobody_names(read: Read) -> None:
    tree, said = read(DATA + "passes: {tune: {type: LoRA}}")
    assert tree["passes"]["tune"]["train_data_config"] == "rows"
    assert codes(said) == ["OL350"]


@pytest.mark.parametrize(
    "rest",
    [
        "passes: {tune: {type: LoRA, train_data_config: rows}, again: {type: LoRA}}",
        "passes: {tune: {type: LoRA}, q: {type: Gptq, data_config: rows}}",
    ],
)
def test_a_data_set_that_something_names_is_not_guessed_at(read: Read, rest: str) -> None:
    tree, said = read(DATA + rest)
    assert [("train_data_config" in step) for step in tree["passes"].values()].count(True) == rest.count("train_data")
    assert not said


def test_settings_of_training_do_not_replace_those_of_a_pass(read: Read) -> None:
    tree, said = read(
        """
        passes: {tune: {type: LoRA, training_args: {optim: sgd}}, small: {type: Rtn}}
        training_config: {optim: adamw_torch, warmup_steps: 3}
        """
    )
    assert tree["passes"] == {
        "tune": {"type": "LoRA", "training_args": {"optim": "sgd"}, "warmup_steps": 3},
        "small": {"type": "Rtn"},
    }
    assert not said


def test_settings_of_training_without_training(read: Read) -> None:
    _, said = read("passes: {small: {type: Rtn}}\ntraining_config: {optim: sgd}")
    assert [(d.code, d.line) for d in said] == [("OL308", 2)]


def test_without_passes_what_is_missing_is_named(read: Read) -> None:
    tree, said = read(
        """
        search_strategy: {type: random, num_trials: 2}
        search_space: {r: {type: int, low: 1, high: 2}}
        training_config: {optim: sgd}
        """
    )
    assert tree["search_strategy"] == {"sampler": "random", "max_samples": 2}
    assert {(d.code, d.line) for d in said} == {("OL307", 3), ("OL308", 4)}
