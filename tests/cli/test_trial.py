"""`--test`: what a workflow is cut down to, and that it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from olive_like.cli.dispatch import dispatch
from olive_like.workflow.read import read
from olive_like.workflow.trial.rewrite import Trial, trial_folder

LARGE: dict[str, Any] = {
    "input_model": {"type": "HfModel", "model_path": "org/bert-large", "task": "text-classification"},
    "systems": {
        "npu": {
            "type": "LocalSystem",
            "accelerators": [{"device": "npu", "execution_providers": ["QNNExecutionProvider"]}],
        }
    },
    "data_configs": [
        {
            "name": "pairs",
            "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "glue", "subset": "mrpc", "split": "validation[:4000]"},
            "pre_process_data_config": {"input_cols": ["sentence1", "sentence2"], "max_samples": 1000},
        },
        {"name": "mine", "source": "rows.jsonl", "max_samples": 500},
        {
            "name": "joined",
            "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "wikitext", "split": "train"},
            "pre_process_data_config": {"strategy": "join", "max_seq_len": 4096, "max_samples": 128},
        },
    ],
    "evaluators": {
        "quality": {
            "metrics": [
                {
                    "name": "accuracy",
                    "type": "accuracy",
                    "data_config": "pairs",
                    "sub_types": [{"name": "accuracy_score", "goal": {"type": "threshold", "value": 0.9}}],
                },
                {"name": "latency", "type": "latency", "sub_types": [{"name": "avg"}]},
                "throughput",
            ]
        },
        "tasks": {"type": "LMEvaluator", "tasks": ["mmlu"]},
    },
    "passes": {
        "onnx": {"type": "OnnxConversion"},
        "int8": {"type": "OnnxStaticQuantization", "data_config": "pairs", "calibration_samples": 500},
        "measured": {"type": "OnnxPeepholeOptimizer", "evaluator": "tasks"},
    },
    "evaluator": "quality",
    "target": "npu",
    "output_dir": "models/bert",
}


@pytest.fixture
def large(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": 0}\n')
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(LARGE))
    return file


def test_everything_large_is_replaced_and_said(large: Path, tmp_path: Path) -> None:
    asked: list[tuple[str, str | None]] = []

    def tiny(name: str, task: str | None) -> Path:
        asked.append((name, task))
        return tmp_path / "tiny"

    trial = Trial(tiny, tmp_path / "files", tmp_path)
    workflow = read(large, change=trial).require()
    assert asked == [("org/bert-large", "text-classification")]
    assert workflow.input_model is not None
    assert workflow.input_model.model_path == str(tmp_path / "tiny")
    assert not workflow.systems
    assert workflow.system is None
    pairs, mine, joined = (workflow.data_configs[name] for name in ("pairs", "mine", "joined"))
    assert pairs.source is None
    assert pairs.rows is not None
    assert set(pairs.rows[0]) >= {"sentence1", "sentence2", "label"}
    assert (len(pairs.rows), pairs.split, pairs.max_samples) == (8, "train", 8)
    assert (Path(str(mine.source)).name, mine.max_samples) == ("rows.jsonl", 8)
    assert joined.max_seq_len == 64
    assert workflow.passes["int8"].config.calibration_samples == 8
    assert workflow.passes["measured"].evaluator is None
    assert workflow.evaluators["quality"].metrics[0].sub_types[0].goal is None
    for metric in workflow.evaluators["quality"].metrics[1:]:
        assert metric.sub_types[0].metric_config["max_seconds"] < 1
    assert workflow.output_dir == "models/bert-test"
    said = "\n".join(trial.said)
    for words in ("org/bert-large", "QNNExecutionProvider", "in place of glue", "wikitext", "mmlu", "goals"):
        assert words in said
    assert "rows.jsonl" not in said


def test_calibration_text_is_given(tmp_path: Path) -> None:
    """For a model to write its own takes longer than all the rest."""
    passes = {"few": {"type": "Gptq", "bits": 4}, "rounded": {"type": "Rtn", "bits": 8}}
    tree: dict[str, Any] = {"input_model": {"type": "HfModel", "model_path": "org/llama"}, "passes": passes}
    workflow = read(tree, change=Trial(lambda *_: tmp_path, tmp_path, tmp_path)).require()
    assert len(workflow.passes["few"].config.data_config.rows) == 8
    assert not hasattr(workflow.passes["rounded"].config, "data_config")


def test_recordings_lie_in_the_folder_that_is_the_data_set(tmp_path: Path) -> None:
    """Elsewhere a change of them would not be seen, and they are refused."""
    data = {
        "name": "said",
        "source": "org/speech",
        "split": "test",
        "audio": {"audio_col": "clip", "text_col": "words"},
    }
    tree: dict[str, Any] = {"data_configs": [data], "passes": {"a": {"type": "Null"}}}
    config = read(tree, change=Trial(lambda *_: tmp_path, tmp_path, tmp_path)).require().data_configs["said"]
    rows = [json.loads(line) for line in (Path(config.source) / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert all((Path(config.source) / row["clip"]).stat().st_size > 1000 and row["words"] for row in rows)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_train_epochs": 50, "batch_size": 64, "per_device_eval_batch_size": 1},
        {"max_steps": -1, "train_batch_size": 1, "warmup_steps": 100},
        {"training_args": {"num_train_epochs": 50, "per_device_train_batch_size": 8}, "save_steps": 5},
        {"config": {"max_steps": {"choice": [100, 200]}, "gradient_accumulation_steps": 16}},
        {},
    ],
)
def test_training_stops_wherever_its_length_stands(tmp_path: Path, settings: dict[str, Any]) -> None:
    passes = {"tune": {"type": "LoRA", "train_data_config": "rows", **settings}}
    tree: dict[str, Any] = {
        "input_model": {"type": "HfModel", "model_path": "org/llama"},
        "data_configs": [{"name": "rows", "rows": [{"text": "a"}]}],
        "passes": passes,
    }
    trial = Trial(lambda *_: tmp_path, tmp_path, tmp_path)
    entry = read(tree, change=trial).require().passes["tune"]
    assert not entry.spaces
    assert (entry.config.max_steps, entry.config.warmup_steps, entry.config.save_steps) == (2, 0, None)
    assert entry.config.gradient_accumulation_steps <= 2
    named = any("batch_size" in name for name in (*settings, *settings.get("training_args", {})))
    assert entry.config.per_device_train_batch_size <= 2 or not named
    assert "training stops after 2 steps" in trial.said


@pytest.mark.parametrize("nested", [False, True])
def test_an_adapter_to_go_on_from_does_not_fit(tmp_path: Path, nested: bool) -> None:
    settings = {"training_args": {"init_adapter": "mine"}} if nested else {"init_adapter": "mine"}
    tree: dict[str, Any] = {
        "input_model": {"type": "HfModel", "model_path": "org/llama"},
        "data_configs": [{"name": "rows", "rows": [{"text": "a"}]}],
        "passes": {"tune": {"type": "LoRA", "train_data_config": "rows", **settings}},
    }
    trial = Trial(lambda *_: tmp_path, tmp_path, tmp_path)
    assert read(tree, change=trial).require().passes["tune"].config.init_adapter is None
    assert "the adapter mine is left out, as it does not fit a tiny model" in trial.said


def test_a_rotation_is_trained_two_steps(tmp_path: Path) -> None:
    """Its settings know `training_args` alone."""
    passes = {"spun": {"type": "SpinQuant"}, "plain": {"type": "Rtn", "bits": 8}}
    tree: dict[str, Any] = {"input_model": {"type": "HfModel", "model_path": "org/llama"}, "passes": passes}
    workflow = read(tree, change=Trial(lambda *_: tmp_path, tmp_path, tmp_path)).require()
    assert workflow.passes["spun"].config.training_args.max_steps == 2


@pytest.mark.parametrize(
    ("named", "put"), [("out", "out-test"), ("a/out/", "a/out-test"), (".", "outputs-test"), ("..", "../outputs-test")]
)
def test_results_never_go_where_the_workflow_itself_puts_them(named: str, put: str) -> None:
    assert trial_folder(named) == put


@pytest.mark.parametrize(
    ("config", "columns"),
    [
        ({"text_template": "{question} {answer}"}, {"question", "answer"}),
        ({"shape": "alpaca"}, {"instruction", "input", "output"}),
        ({"image": {"image_col": "picture"}, "label_cols": ["class"]}, {"picture", "class", "label"}),
        ({"audio": {"text_col": "said"}}, {"audio", "said"}),
        ({}, {"text"}),
    ],
)
def test_made_up_rows_have_the_columns_that_are_named(
    tmp_path: Path, config: dict[str, Any], columns: set[str]
) -> None:
    from olive_like.workflow.trial.rows import made_up_rows

    rows = made_up_rows(config, None, 3, tmp_path)
    assert [set(row) for row in rows] == [columns] * 3
    for row in rows:
        assert all(Path(row[name]).stat().st_size > 0 for name in ("picture", "audio") if name in row)


def test_a_trial_is_not_locked(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch("run", [str(large), "--test", "--lock"]) == 2
    assert "no run to lock" in capsys.readouterr().err


@pytest.mark.heavy
def test_a_large_workflow_runs_in_seconds(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On this machine's processor, from an empty cache, into a folder of its own."""
    cache = large.parent / "cache"
    named = large.parent / "models/mine"
    flags = ["--in-process", "--json", "--cache-dir", str(cache), "-o", str(named)]
    assert dispatch("run", [str(large), "--test", *flags]) == 0
    out = capsys.readouterr()
    passes = {entry["name"]: entry for entry in json.loads(out.out.splitlines()[-1])["passes"]}
    assert passes["int8"]["status"] == "ran"
    found = [value for name, value in passes["measured"]["metrics"].items() if name.startswith("accuracy")]
    assert found
    assert 0 <= found[0]["value"] <= 1
    assert "test: a tiny model with random weights in place of org/bert-large" in out.err
    assert named.with_name("mine-test").is_dir()
    assert not named.exists()


def test_a_trial_of_a_command_does_not_pass_for_its_result(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = large.parent / "tuned"
    flags = ["-m", "org/bert-large", "-a", "my-adapter", "-d", str(large.parent / "rows.jsonl"), "-o", str(out)]
    cache = ["--cache-dir", str(large.parent / "cache")]
    assert dispatch("finetune", [*flags, *cache, "--test", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "a tiny model with random weights in place of org/bert-large" in said.err
    assert "the adapter my-adapter is left out" in said.err
    assert "adapter_path" not in said.out
    assert (out.with_name("tuned-test") / "workflow.yaml").is_file()
    assert not out.exists()
