"""Metrics against the libraries that define them, and against each other across runtimes."""

import json
import math

import numpy as np
import pytest

from olive_like.artifacts import HfModel
from olive_like.data.config import DataConfig
from olive_like.errors import PassError
from olive_like.metrics.config import Evaluator
from olive_like.passes.base import Context
from olive_like.passes.measure.evaluate import Evaluate
from tests import tiny_models

pytestmark = pytest.mark.heavy

TEXTS = ["a great film, a clever film", "a dull film and a boring film", "seven small ships", "two plus three is five"]


def measure(model, evaluator, tmp_path, name="out"):
    output = tmp_path / name
    output.mkdir()
    config = Evaluate.Config(evaluator=Evaluator.model_validate(evaluator))
    Evaluate().apply([model], config, Context(output, tmp_path / "scratch", threads=2))
    return json.loads((output / "metrics.json").read_text())


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_models.tiny_llama(tmp_path_factory.mktemp("llama"), num_hidden_layers=1)


@pytest.fixture(scope="module")
def onnx_llama(llama, tmp_path_factory):
    from olive_like.passes.convert.onnx_conversion import OnnxConversion

    folder = tmp_path_factory.mktemp("onnx")
    return OnnxConversion().apply([llama], OnnxConversion.Config(), Context(folder, folder.parent / "scratch"))


def test_perplexity_equals_a_plain_loop(llama, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [{"text": text} for text in TEXTS]
    found = measure(llama, {"metrics": ["perplexity", "loss"], "data_config": DataConfig(rows=rows)}, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(llama.path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(llama.path)
    total, count = 0.0, 0
    for text in TEXTS:
        ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
        with torch.no_grad():
            logits = model(ids).logits[0, :-1].double()
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
        count += ids.shape[1] - 1
    assert found["loss-loss"]["value"] == pytest.approx(total / count, abs=1e-6)
    assert found["perplexity-perplexity"]["value"] == pytest.approx(math.exp(total / count), rel=1e-6)
    assert found["loss-loss"]["spread"] > 0


def test_batches_do_not_change_the_result(llama, tmp_path):
    rows = [{"text": text} for text in TEXTS]
    one, four = (
        measure(
            llama, {"metrics": ["loss"], "data_config": DataConfig(rows=rows, batch_size=size)}, tmp_path, str(size)
        )
        for size in (1, 4)
    )
    assert one["loss-loss"]["value"] == pytest.approx(four["loss-loss"]["value"], abs=1e-5)


def test_onnx_and_pytorch_agree(llama, onnx_llama, tmp_path):
    evaluator = {
        "metrics": ["perplexity", "token_accuracy"],
        "data_config": DataConfig(rows=[{"text": text} for text in TEXTS], batch_size=3),
    }
    torch_values = measure(llama, evaluator, tmp_path, "torch")
    onnx_values = measure(onnx_llama, evaluator, tmp_path, "onnx")
    for name, entry in torch_values.items():
        assert onnx_values[name]["value"] == pytest.approx(entry["value"], abs=1e-3)


def test_generated_texts_agree_and_equal_the_libraries(llama, onnx_llama, tmp_path):
    rows = [
        {"prompt": "the quick brown", "completion": " fox jumps over"},
        {"prompt": "a great", "completion": " film"},
    ]
    names = ["bleu", "rouge1", "rougeL", "exact_match"]
    subs = [{"name": name, "metric_config": {"max_new_tokens": 8}} for name in names]
    evaluator = {
        "metrics": [{"name": "text", "type": "accuracy", "sub_types": subs}],
        "data_config": DataConfig(rows=rows),
    }
    assert measure(llama, evaluator, tmp_path, "torch") == measure(onnx_llama, evaluator, tmp_path, "onnx")


def test_a_graph_with_logits_of_the_last_position_writes_the_same_but_has_no_perplexity(onnx_llama, tmp_path):
    from olive_like.passes.onnx_graph.surgeries import GraphSurgeries

    folder = tmp_path / "pruned"
    folder.mkdir()
    settings = GraphSurgeries.Config(surgeries=[{"surgeon": "PruneLmHead"}])
    pruned = GraphSurgeries().apply([onnx_llama], settings, Context(folder, tmp_path / "scratch"))
    data = DataConfig(rows=[{"prompt": "the quick brown", "completion": " fox jumps over"}])
    sub = {"name": "bleu", "metric_config": {"max_new_tokens": 8}}
    written = {"metrics": [{"name": "text", "type": "accuracy", "sub_types": [sub]}], "data_config": data}
    assert measure(pruned, written, tmp_path, "new") == measure(onnx_llama, written, tmp_path, "old")
    texts = DataConfig(rows=[{"text": text} for text in TEXTS])
    with pytest.raises(PassError, match="this metric needs all of them"):
        measure(pruned, {"metrics": ["perplexity"], "data_config": texts}, tmp_path)


def test_text_scores_equal_the_libraries():
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    from olive_like.metrics import _scores

    wanted, made = ["the cat sat on the mat", "hello there"], ["the cat sat on a mat", "hello"]
    assert _scores.texts("bleu", wanted, made)[0] == sacrebleu.corpus_bleu(made, [wanted]).score
    rouge = [RougeScorer(["rouge2"]).score(w, m)["rouge2"].fmeasure for w, m in zip(wanted, made, strict=True)]
    assert _scores.texts("rouge2", wanted, made)[0] == pytest.approx(sum(rouge) / 2, abs=1e-12)
    assert _scores.texts("wer", wanted, made)[0] == 2 / 8


def test_class_scores_equal_scikit_learn():
    from sklearn import metrics as sk

    from olive_like.metrics import _scores

    random = np.random.default_rng(0)
    scores, targets = random.standard_normal((60, 3)), random.integers(0, 3, 60)
    predicted = scores.argmax(-1)
    assert _scores.classification("accuracy_score", targets, scores, {}) == sk.accuracy_score(targets, predicted)
    assert _scores.classification("f1_score", targets, scores, {}) == sk.f1_score(targets, predicted, average="macro")
    for average in ("micro", "weighted"):
        expected = sk.precision_score(targets, predicted, average=average)
        assert _scores.classification("precision", targets, scores, {"average": average}) == expected
    chances = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    expected = sk.roc_auc_score(targets, chances, multi_class="ovr")
    assert _scores.classification("auroc", targets, scores, {}) == pytest.approx(expected, abs=1e-9)


def test_classification_and_a_metric_of_the_users_own(tmp_path):
    bert = tiny_models.tiny_bert(tmp_path / "bert")
    rows = [{"text": text, "label": index % 2} for index, text in enumerate(TEXTS)]
    script = tmp_path / "mine.py"
    script.write_text(
        "def score(predictions, targets, scale):\n"
        "    return {'agree': scale * sum(map(int.__eq__, predictions, targets))}\n"
    )
    evaluator = {
        "data_config": DataConfig(rows=rows, shape="classification"),
        "metrics": [
            "accuracy_score",
            {
                "name": "mine",
                "type": "custom",
                "user_config": {
                    "user_script": str(script), "metric_func": "score", "metric_func_kwargs": {"scale": 0.25},
                },
            },
        ],
    }  # fmt: skip
    found = measure(bert, evaluator, tmp_path)
    assert found["accuracy_score-accuracy_score"]["value"] == found["mine-agree"]["value"]


def test_an_error_in_the_users_script_points_at_the_line(tmp_path):
    bert = tiny_models.tiny_bert(tmp_path / "bert")
    script = tmp_path / "mine.py"
    script.write_text("def score(path):\n    x = 1\n    return x / 0\n")
    evaluator = {
        "metrics": [
            {"name": "m", "type": "custom", "user_config": {"user_script": str(script), "evaluate_func": "score"}}
        ]
    }
    with pytest.raises(PassError, match="ZeroDivisionError") as caught:
        measure(bert, evaluator, tmp_path)
    assert "mine.py:3" in caught.value.hint


def test_latency_throughput_and_size(onnx_llama, tmp_path):
    subs = [
        {"name": name, "metric_config": {"warmup_num": 1, "repeat_test_num": 5, "sequence_length": 16}}
        for name in ("avg", "p90")
    ]
    evaluator = {
        "metrics": [
            {"name": "latency", "type": "latency", "sub_types": subs},
            {"name": "throughput", "type": "throughput", "sub_types": subs[:1]},
            "size_on_disk",
        ]
    }
    found = measure(onnx_llama, evaluator, tmp_path)
    assert found["size_on_disk-bytes"]["value"] == sum(
        f.stat().st_size for f in onnx_llama.path.rglob("*") if f.is_file()
    )
    assert found["latency-avg"]["value"] > 0
    assert not found["latency-avg"]["higher_is_better"]
    assert found["throughput-avg"]["higher_is_better"]


def test_metrics_that_do_not_fit_the_data_are_refused(llama, tmp_path):
    rows = [{"text": text} for text in TEXTS]
    with pytest.raises(PassError, match="f1_score cannot be measured on examples of kind lm"):
        measure(llama, {"metrics": ["f1_score"], "data_config": DataConfig(rows=rows)}, tmp_path, "a")
    with pytest.raises(PassError, match="a prompt and an answer"):
        measure(llama, {"metrics": ["bleu"], "data_config": DataConfig(rows=rows)}, tmp_path, "b")
    with pytest.raises(PassError, match="needs data"):
        measure(HfModel(llama.path, llama.attributes, digest=llama.digest), {"metrics": ["loss"]}, tmp_path, "c")
