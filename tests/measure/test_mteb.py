"""A task of MTEB, done by a PyTorch model and an ONNX graph through our runtimes, and by the harness's own."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

import olive_like
from olive_like.errors import PassError
from olive_like.passes.measure._pooling import pooled, pooling, whole
from tests import tiny_models
from tests.measure.test_kinds_of_models import measure, to_onnx

TASK = {"metrics": [{"name": "texts", "type": "mteb", "tasks": ["MockSTSTask"]}]}


def flow(folder, tasks):
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text('{"architectures": ["BertModel"]}')
    return {
        "input_model": {"type": "HfModel", "model_path": str(folder / "model")},
        "evaluators": {"e": {"metrics": [{"name": "m", "type": "mteb", "tasks": tasks}]}},
        "evaluator": "e",
        "evaluate_input_model": True,
    }


def test_what_is_not_installed_is_said_before_anything_runs(tmp_path):
    if find_spec("mteb") is not None:
        pytest.skip("mteb is installed here")
    with pytest.raises(olive_like.OliveLikeError, match="mteb, which is not installed") as caught:
        olive_like.run(flow(tmp_path, ["STS17"]), cache_dir=tmp_path / "cache", output_dir=tmp_path / "out")
    assert "pip install" in caught.value.hint


def test_a_metric_without_tasks_is_found_before_anything_runs(tmp_path):
    found = [d.message for d in olive_like.check(flow(tmp_path, [])).diagnostics]
    assert any("names no task: write `tasks: [STS17]`" in message for message in found)


@pytest.mark.heavy
def test_a_task_gives_what_the_harness_itself_gives(tmp_path, monkeypatch):
    harness = pytest.importorskip("mteb", reason="needs mteb")
    from mteb.mocks.mock_tasks import MockSTSTask
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    monkeypatch.setattr(harness, "get_tasks", lambda tasks: [MockSTSTask()])
    model = tiny_models.tiny_bert(tmp_path / "bert", labels=None)
    onnx = to_onnx(model, tmp_path / "onnx")
    words = Transformer(str(model.path))
    theirs = SentenceTransformer(modules=[words, Pooling(words.get_word_embedding_dimension(), "mean"), Normalize()])
    expected = harness.evaluate(theirs, MockSTSTask(), cache=None).task_results[0].get_score()
    for name, one in (("torch", model), ("onnx", onnx)):
        assert measure(one, TASK, tmp_path, f"of {name}") == {
            "texts-MockSTSTask.main_score": pytest.approx(expected, abs=1e-6)
        }


def test_how_a_texts_vector_is_made():
    states = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    assert pooled({"last_hidden_state": states}, mask, "mean").tolist() == [[2, 3], [7, 8]]
    assert pooled({"hidden_states": states}, mask, "lasttoken").tolist() == [[4, 5], [8, 9]]
    assert pooled({"token_embeddings": states}, mask, "cls").tolist() == [[0, 1], [6, 7]]
    assert whole({"sentence_embedding": states[0]}).tolist() == states[0].tolist()
    assert whole({"last_hidden_state": states}) is None
    with pytest.raises(PassError, match="none of them"):
        pooled({"logits": states}, mask, "mean")


def test_only_what_is_done_here_is_measured(tmp_path):
    assert pooling(tmp_path, {"architectures": ["BertModel"]}) == "mean"
    assert pooling(tmp_path, {"architectures": ["Qwen3ForCausalLM"]}) == "lasttoken"
    said = tmp_path / "1_Pooling" / "config.json"
    said.parent.mkdir()
    for settings, how in (
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}, "mean"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
    ):
        said.write_text(json.dumps(settings))
        assert pooling(tmp_path, {}) == how
    for settings, named in (
        ({"pooling_mode": "max"}, "by max,"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls_token and mean_tokens"),
        ({"pooling_mode_weightedmean_tokens": True}, "weightedmean_tokens"),
    ):
        said.write_text(json.dumps(settings))
        with pytest.raises(PassError, match=named):
            pooling(tmp_path, {})
    said.write_text(json.dumps({"pooling_mode": "cls"}))
    stages = [{"type": f"sentence_transformers.models.{name}", "path": ""} for name in ("Transformer", "Dense")]
    (tmp_path / "modules.json").write_text(json.dumps(stages))
    with pytest.raises(PassError, match="by Dense too"):
        pooling(tmp_path, {})
