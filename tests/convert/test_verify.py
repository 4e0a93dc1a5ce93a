"""Comparing models before and after a pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import describe_io, finish, load_proto
from olive_like.passes._onnx_runtime import Decoder, Shape, make_feeds, open_session, run_session
from olive_like.passes._verify import Comparison, judge, verify_models
from olive_like.passes.base import Context
from tests.convert.helpers import Events

pytestmark = pytest.mark.heavy

VOCABULARY = 16


def toy(folder: Path, scale: float = 1.0, *, fixed: bool = False, dtype: type = np.float32) -> OnnxModel:
    """A language model whose cache holds one number per token, and whose logits are the sum of what it has seen."""
    folder.mkdir(parents=True)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    batch, tokens, past, total = (1, 6, 0, 6) if fixed else ("batch", "sequence", "past_sequence_length", "total")
    table = (np.random.default_rng(0).standard_normal((VOCABULARY, 4)) * scale).astype(dtype)
    head = np.random.default_rng(1).standard_normal((4, VOCABULARY)).astype(dtype)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
        helper.make_node("Unsqueeze", ["embedded", "one"], ["key"]),
        helper.make_node("Concat", ["past_key_values.0.key", "key"], ["present.0.key"], axis=2),
        helper.make_node("ReduceSum", ["present.0.key", "two"], ["seen"], keepdims=0),
        helper.make_node("Add", ["embedded", "seen"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, [batch, tokens]),
            helper.make_tensor_value_info("past_key_values.0.key", kind, [batch, 1, past, 4]),
        ],
        [
            helper.make_tensor_value_info("logits", kind, [batch, tokens, VOCABULARY]),
            helper.make_tensor_value_info("present.0.key", kind, [batch, 1, total, 4]),
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(head, "head"),
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.array([2]), "two"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    return OnnxModel(folder, {"file": "model.onnx", "vocab_size": VOCABULARY})


def context(folder: Path, events: Events | None = None) -> Context:
    events = events if events is not None else Events()
    return Context(output=folder, scratch=folder, emit=lambda kind, data: events.append((kind, dict(data))))


def test_equal_models_are_equal(tmp_path: Path) -> None:
    events = Events()
    found = verify_models(toy(tmp_path / "a"), toy(tmp_path / "b"), "fail", 1e-6, context(tmp_path, events))
    assert found == {"runs": 2, "max_diff_below": 1e-9, "tolerance": 1e-6, "top1_agreement": 1.0}
    assert events.metric("verify.max_abs_diff") == 0
    assert events.metric("verify.kl") == 0


def test_a_difference_warns_or_fails_and_names_the_output(tmp_path: Path) -> None:
    before, after = toy(tmp_path / "a"), toy(tmp_path / "b", 1.1)
    events = Events()
    verify_models(before, after, "warn", 1e-3, context(tmp_path, events))
    assert "differs by" in events.texts("warning")[0]
    assert events.metric("verify.kl") > 0
    with pytest.raises(PassError, match=r"the output (logits|present.0.key) differs by"):
        verify_models(before, after, "fail", 1e-3, context(tmp_path))
    assert verify_models(before, after, "off", 1e-3, context(tmp_path)) is None


def test_not_a_number_is_found_whatever_the_tolerance(tmp_path: Path) -> None:
    before, after = toy(tmp_path / "a"), toy(tmp_path / "b", float("nan"))
    with pytest.raises(PassError, match="NaN or Inf in"):
        verify_models(before, after, "fail", float("inf"), context(tmp_path))


def test_a_model_with_other_types_or_fixed_shapes_can_be_compared(tmp_path: Path) -> None:
    before = toy(tmp_path / "a")
    half = verify_models(before, toy(tmp_path / "b", dtype=np.float16), "fail", 2e-2, context(tmp_path))
    assert half is not None
    assert half["max_diff_below"] <= 1e-2
    assert verify_models(before, toy(tmp_path / "c", fixed=True), "fail", 1e-6, context(tmp_path)) is not None


def test_agreement_and_divergence_of_logits() -> None:
    comparison = Comparison()
    expected = np.array([[[0.0, 5.0], [5.0, 0.0]]])
    comparison.add("logits", expected, np.array([[[0.0, 5.0], [0.0, 5.0]]]))
    assert comparison.top1 == 0.5
    assert comparison.kl == pytest.approx(0.5 * 5 * np.tanh(2.5), rel=1e-6)
    assert comparison.max_rel_diff == 1.0


def test_infinity_that_was_there_before_is_no_fault(tmp_path: Path) -> None:
    comparison = Comparison()
    masked = np.array([1.0, -np.inf])
    comparison.add("scores", masked, masked)
    assert not comparison.broken
    judge(comparison, "fail", 1e-6, context(tmp_path))


def test_what_had_no_number_before_is_not_called_the_same(tmp_path: Path) -> None:
    comparison, events = Comparison(), Events()
    comparison.add("scores", np.full(2, np.nan), np.zeros(2))
    judge(comparison, "fail", 1e-6, context(tmp_path, events))
    assert any("not compared: scores" in values.get("text", "") for _, values in events)


def test_another_shape_is_an_error() -> None:
    with pytest.raises(PassError, match="had the shape"):
        Comparison().add("y", np.zeros((1, 2)), np.zeros((2, 1)))


def test_greedy_generation_uses_the_cache(tmp_path: Path) -> None:
    model = toy(tmp_path / "a")
    made = Decoder(model).generate([1, 2, 3], 5)
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(model.file).graph.initializer}
    tokens = [1, 2, 3]
    for _ in range(5):
        embedded = weights["table"][tokens]
        tokens.append(int(np.argmax((embedded[-1] + embedded.sum(0)) @ weights["head"])))
    assert made == tokens[3:]
    assert Decoder(model).generate([1, 2, 3], 5, stop=[made[0]]) == made[:1]


def test_inputs_fit_each_other() -> None:
    names = {
        "input_ids": ["batch_size", "sequence_length"],
        "attention_mask": ["batch_size", "total_sequence_length"],
        "position_ids": ["batch_size", "sequence_length"],
        "past_key_values.0.key": ["batch_size", 2, "past_sequence_length", 8],
    }
    dtypes = dict.fromkeys(names, "int64") | {"past_key_values.0.key": "float"}
    io = {"inputs": [{"name": name, "dtype": dtypes[name], "shape": shape} for name, shape in names.items()]}
    feeds = make_feeds(io, Shape(3, 5, 7), vocabulary=10)
    assert {name: value.shape for name, value in feeds.items()} == {
        "input_ids": (3, 5), "attention_mask": (3, 12), "position_ids": (3, 5), "past_key_values.0.key": (3, 2, 7, 8),
    }  # fmt: skip
    assert feeds["position_ids"][0].tolist() == [7, 8, 9, 10, 11]
    assert feeds["input_ids"].max() < 10


def test_an_op_without_a_kernel_is_one_line(tmp_path: Path) -> None:
    model = toy(tmp_path / "a")
    proto = onnx.load(model.file)
    proto.graph.node[5].op_type = "Vendor"
    proto.graph.node[5].domain = "my.vendor"
    proto.opset_import.add(domain="my.vendor", version=1)
    onnx.save(proto, model.file)
    with pytest.raises(PassError, match="Vendor") as caught:
        open_session(model.file)
    assert "\n" not in caught.value.message
    assert "register its library" in caught.value.hint


def test_an_opset_from_the_future_is_one_line(tmp_path: Path) -> None:
    model = toy(tmp_path / "a")
    proto = onnx.load(model.file)
    proto.opset_import[0].version = 99
    onnx.save(proto, model.file)
    with pytest.raises(PassError, match="Opset 99 is under development") as caught:
        open_session(model.file)
    assert "target_opset" in caught.value.hint
    assert "onnxruntime_src" not in caught.value.message


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(PassError, match=r"past_key_values.0.key"):
        run_session(open_session(toy(tmp_path / "a").file), {"input_ids": np.zeros((1, 2), np.int64)})


def test_what_a_graph_takes_is_described(tmp_path: Path) -> None:
    model = toy(tmp_path / "a")
    described = describe_io(load_proto(model))
    assert described["inputs"][1]["shape"] == ["batch", 1, "past_sequence_length", 4]
    assert finish(context(model.path), model).attributes["io"] == described


def test_what_could_not_run_before_is_not_compared(tmp_path: Path) -> None:
    before, after = toy(tmp_path / "a"), toy(tmp_path / "b")
    proto = onnx.load(before.file)
    proto.graph.node[5].domain = "my.vendor"
    proto.opset_import.add(domain="my.vendor", version=1)
    onnx.save(proto, before.file)
    events = Events()
    assert verify_models(before, after, "warn", 1e-3, context(tmp_path, events)) is None
    assert "not compared" in events.texts("warning")[0]
    with pytest.raises(PassError, match="could not be run"):
        verify_models(before, after, "fail", 1e-3, context(tmp_path))
    with pytest.raises(PassError, match="cannot load"):
        verify_models(after, before, "warn", 1e-3, context(tmp_path))


def test_text_is_the_same_or_not_and_cannot_be_made_up() -> None:
    found = Comparison()
    text = np.array(["a", "b"], dtype=object)
    found.add("y", text, text.copy())
    assert found.scaled == 0
    found.add("y", text, text[::-1])
    assert found.scaled == 1
    with pytest.raises(PassError, match="no values can be made up for the input s, which is string"):
        make_feeds({"inputs": [{"name": "s", "dtype": "string", "shape": ["n"]}]}, Shape())
