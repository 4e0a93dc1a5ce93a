"""`olive-like benchmark`: a model measured, several compared."""

import json

import pytest

from olive_like.cli import main
from olive_like.cli.benchmark import configure, workflow
from olive_like.errors import WorkflowError
from tests import tiny_models
from tests.optimize.test_rules import parsed_by


def made(*arguments):
    args = parsed_by(configure, *arguments)
    return workflow(args, args.model_name_or_path)


def test_what_is_measured_by_default_and_by_name(tmp_path):
    assert made("-m", "m")["evaluators"]["benchmark"]["metrics"] == ["latency", "size_on_disk"]
    tasks = made("-m", "m", "--tasks", "mmlu,arc_easy", "--limit", "8")["evaluators"]["benchmark"]["metrics"]
    assert tasks == [{"name": "lm_eval", "type": "lm_eval", "tasks": ["mmlu", "arc_easy"], "limit": 8.0}]
    flow = made("-m", "m", "--metrics", "perplexity,load_time", "--data", "rows.jsonl", "--max-samples", "3")
    assert flow["data_configs"][0]["max_samples"] == 3
    assert flow["evaluators"]["benchmark"]["data_config"] == "data"
    with pytest.raises(WorkflowError, match="perplexity is measured on data"):
        made("-m", "m", "--metrics", "perplexity")
    for flag in ("--text-template", "--max-samples", "--max-length", "--batch-size", "--split"):
        with pytest.raises(WorkflowError, match=f"{flag} says nothing without --data"):
            made("-m", "m", flag, "3")
    with pytest.raises(WorkflowError, match="--limit says nothing without --tasks"):
        made("-m", "m", "--limit", "3")


@pytest.mark.heavy
def test_two_models_beside_each_other(tmp_path, capfd):
    models = [str(make(tmp_path / name).path) for name, make in
              (("one", tiny_models.tiny_llama), ("two", tiny_models.tiny_qwen2))]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text('{"text": "a great film"}\n{"text": "seven small ships"}\n')
    arguments = ["benchmark", "-m", models[0], "--compare", models[1], "--metrics", "perplexity,size_on_disk",
                 "--data", str(tmp_path / "rows.jsonl"), "--cache-dir", str(tmp_path / "cache"),
                 "-o", str(tmp_path / "out")]  # fmt: skip
    capfd.readouterr()
    assert main(arguments) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["model", "perplexity", "size_on_disk-bytes"]
    assert "%" in lines[2]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["models"]
    assert list(found) == models
    assert found[models[1]]["perplexity-perplexity"]["value"] > 1


def test_a_model_that_is_not_there_is_named(tmp_path, capsys):
    code = main(["benchmark", "-m", str(tmp_path / "nothing"), "--cache-dir", str(tmp_path / "cache")])
    assert code != 0
    assert "nothing" in capsys.readouterr().err
