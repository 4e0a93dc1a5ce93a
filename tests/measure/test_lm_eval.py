"""A task of lm-evaluation-harness, asked of a PyTorch model through our runtime and through the harness's own."""

import json
from importlib.util import find_spec

import pytest

import olive_like
from olive_like.artifacts import HfModel
from olive_like.metrics.config import Evaluator
from olive_like.passes.base import Context
from olive_like.passes.measure.evaluate import Evaluate
from tests import tiny_models

TASK = {
    "task": "tiny_choice",
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "test_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
ROWS = [
    {"question": "the quick brown", "choices": [" fox jumps", " ship", " tree"], "answer": 0},
    {"question": "a great film, a", "choices": [" dull film", " clever film"], "answer": 1},
    {"question": "two plus three is", "choices": [" five", " seven", " nine"], "answer": 0},
]


def evaluator(folder):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    task = {**TASK, "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}}}
    return {"metrics": [{"name": "lm", "type": "lm_eval", "tasks": [task]}]}


def test_what_is_not_installed_is_said_before_anything_runs(tmp_path):
    if find_spec("lm_eval") is not None:
        pytest.skip("lm-evaluation-harness is installed here")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    flow = {
        "input_model": {"type": "HfModel", "model_path": str(tmp_path / "model")},
        "evaluators": {"e": {"metrics": [{"name": "lm", "type": "lm_eval", "tasks": ["mmlu"]}]}},
        "evaluator": "e",
        "evaluate_input_model": True,
    }
    with pytest.raises(olive_like.OliveLikeError, match="lm_eval, which is not installed"):
        olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "out")


@pytest.mark.heavy
def test_a_task_gives_what_the_harness_itself_gives(tmp_path):
    harness = pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness")
    from lm_eval.models.huggingface import HFLM

    model = tiny_models.tiny_llama(tmp_path / "model")
    config = Evaluate.Config(evaluator=Evaluator.model_validate(evaluator(tmp_path)))
    (tmp_path / "out").mkdir()
    Evaluate().apply([HfModel(model.path, model.attributes)], config, Context(tmp_path / "out", tmp_path / "scratch"))
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    theirs = harness.simple_evaluate(
        model=HFLM(pretrained=str(model.path), device="cpu", dtype="float32", batch_size=1),
        tasks=[dict(config.evaluator.metrics[0].tasks[0])],
    )["results"]["tiny_choice"]
    for name in ("acc", "acc_norm"):
        assert found[f"lm-tiny_choice.{name}"]["value"] == pytest.approx(theirs[f"{name},none"], abs=1e-9)
