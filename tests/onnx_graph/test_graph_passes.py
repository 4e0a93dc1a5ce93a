"""Passes from graph to graph: the same results, and what each says about itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes import registry
from tests.onnx_graph.small import (
    Events,
    graph,
    ops,
    random,
    relative,
    run_pass,
    save,
    session_outputs,
    simple,
    text_model,
    tokens,
)

pytestmark = pytest.mark.heavy
node = helper.make_node


def test_peephole(tmp_path: Path) -> None:
    half, full = TensorProto.FLOAT16, TensorProto.FLOAT
    nodes = [
        node("Identity", ["x"], ["i"], "identity"),
        node("Reshape", ["i", "s1"], ["r1"], "first"),
        node("Reshape", ["r1", "s2"], ["r2"], "second"),
        node("Exp", ["r2"], ["e1"], "once"),
        node("Exp", ["r2"], ["e2"], "again"),
        node("Add", ["e1", "e2"], ["a"], "sum"),
        node("Cast", ["a"], ["c1"], "up", to=TensorProto.DOUBLE),
        node("Cast", ["c1"], ["y"], "down", to=half),
        node("Log", ["e1"], ["dead"], "dead"),
    ]
    weights = {"s1": np.array([4, 2], np.int64), "s2": np.array([2, 4], np.int64)}
    outputs = {"y": (half, [2, 4])}
    model = save(tmp_path / "in", graph(nodes, weights, {"x": (full, [2, 4])}, outputs))
    events = Events()
    after = run_pass("OnnxPeepholeOptimizer", model, events, cast_chain_elimination=True)
    assert ops(after)["Exp"] == 1
    assert ops(after)["Cast"] == 1
    assert ops(after)["Reshape"] <= 1
    assert not ops(after)["Identity"] + ops(after)["Log"]
    assert "9 nodes before" in events.texts("note")
    x = random(2, 4)
    np.testing.assert_array_equal(session_outputs(model, x=x)[0], session_outputs(after, x=x)[0])
    again = Events()
    run_pass("OnnxPeepholeOptimizer", after, again)
    assert "did not change" in again.texts("warning")


def test_narrowing_casts_stay(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["x"], ["h"], "down", to=TensorProto.FLOAT16),
        node("Cast", ["h"], ["y"], "up", to=TensorProto.FLOAT),
    ]
    model = simple(tmp_path / "in", nodes, {}, [2, 4])
    settings = {"onnxscript_optimize": False, "onnxoptimizer_optimize": False, "cast_chain_elimination": True}
    assert ops(run_pass("OnnxPeepholeOptimizer", model, **settings))["Cast"] == 2


def test_float16(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    for settings in ({}, {"keep_io_types": True}, {"op_block_list": ["Add"]}, {"node_block_list": ["lm_head/*"]}):
        after = run_pass("OnnxFloatToFloat16", model, **settings)
        kinds = {tensor.name: tensor.data_type for tensor in onnx.load(after.file).graph.initializer}
        assert kinds["w1"] == TensorProto.FLOAT16
        (before_logits,), (after_logits,) = (session_outputs(m, input_ids=tokens()) for m in (model, after))
        assert relative(before_logits, after_logits.astype(np.float32)) < 0.01
        assert after_logits.dtype == (np.float32 if settings.get("keep_io_types") else np.float16)
        assert after.attributes["precision"] == "float16"
    only = run_pass("OnnxFloatToFloat16", model, op_include_list=["MatMul"], keep_io_types=True)
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load(only.file).graph.initializer}
    assert kinds["w2"] == TensorProto.FLOAT16
    with pytest.raises(PassError, match="no float32 weights"):
        run_pass("OnnxFloatToFloat16", run_pass("OnnxFloatToFloat16", model))
    with pytest.raises(PassError, match="node_block_list names the node 'head'"):
        run_pass("OnnxFloatToFloat16", model, node_block_list=["head"])


def test_models_that_fit_no_file_of_protobuf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done from 2 GB on, done to a small model."""
    model, passes = (
        text_model(tmp_path / "in"),
        ("OnnxFloatToFloat16", "OrtMixedPrecision", "OnnxQuantizationPreprocess"),
    )
    usual = [run_pass(name, model) for name in passes]
    monkeypatch.setattr("olive_like.passes._onnx_files._LARGE", 1)
    for name, before in zip(passes, usual, strict=True):
        after = run_pass(name, model)
        assert ops(after) == ops(before)
        for one, other in zip(*(session_outputs(m, input_ids=tokens()) for m in (before, after)), strict=True):
            np.testing.assert_array_equal(one, other)


def test_float16_says_what_it_cuts(tmp_path: Path) -> None:
    weight = random(64, 64)
    weight[0, 0] = 1e6
    model = simple(tmp_path / "in", [node("MatMul", ["x", "w"], ["y"], "dense")], {"w": weight})
    events = Events()
    run_pass("OnnxFloatToFloat16", model, events)
    assert "reach beyond 10000" in events.texts("warning")


def test_mixed_precision(tmp_path: Path) -> None:
    model, events = text_model(tmp_path / "in"), Events()
    after = run_pass("OrtMixedPrecision", model, events)
    assert "the last layer (lm_head/MatMul) stays float32" in events.texts("note")
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load(after.file).graph.initializer}
    assert kinds["w1"] == TensorProto.FLOAT16
    assert session_outputs(after, input_ids=tokens())[0].dtype == np.float32


def test_types_of_inputs_and_outputs(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    after = run_pass("OnnxIODataTypeConverter", model, source_dtype=1, target_dtype=10)
    assert after.attributes["io"]["outputs"] == [
        {"name": "logits", "dtype": "float16", "shape": ["batch", "sequence", 128]}
    ]
    ids = run_pass("OnnxIODataTypeConverter", model, name_pattern="^input", source_dtype=7, target_dtype=6)
    assert ids.attributes["io"]["inputs"][0]["dtype"] == "int32"
    np.testing.assert_array_equal(
        session_outputs(ids, input_ids=tokens().astype(np.int32))[0], session_outputs(model, input_ids=tokens())[0]
    )
    events = Events()
    run_pass("OnnxIODataTypeConverter", model, events, name_pattern="nothing")
    assert "did not change" in events.texts("warning")
    with pytest.raises(PassError, match="is no regular expression"):
        run_pass("OnnxIODataTypeConverter", model, name_pattern="(")
    with pytest.raises(PassError, match="source_dtype 99"):
        run_pass("OnnxIODataTypeConverter", model, source_dtype=99)


def test_channels_last(tmp_path: Path) -> None:
    convolution = node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1])
    model = simple(tmp_path / "in", [convolution], {"w": random(4, 3, 3, 3)}, ["batch", 3, 8, 8], ["batch", 4, 8, 8])
    after = run_pass("InputNCHWtoNHWC", model)
    assert after.attributes["io"]["inputs"][0]["shape"] == ["batch", 8, 8, 3]
    x = random(2, 3, 8, 8)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(session_outputs(after, x=turned)[0], session_outputs(model, x=x)[0], rtol=1e-6)
    with pytest.raises(PassError, match="no input 'image'"):
        run_pass("InputNCHWtoNHWC", model, input_names=["image"])
    with pytest.raises(PassError, match="not have four axes"):
        run_pass("InputNCHWtoNHWC", text_model(tmp_path / "text"), input_names=["input_ids"])


def test_fixed_shape(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    for settings in (
        {"dim_param": ["batch", "sequence"], "dim_value": [2, 7]},
        {"input_name": ["input_ids"], "input_shape": [[2, 7]]},
    ):
        after = run_pass("DynamicToFixedShape", model, **settings)
        assert after.attributes["io"]["inputs"][0]["shape"] == [2, 7]
        assert after.attributes["io"]["outputs"][0]["shape"] == [2, 7, 128]
        np.testing.assert_array_equal(
            session_outputs(after, input_ids=tokens())[0], session_outputs(model, input_ids=tokens())[0]
        )
    with pytest.raises(PassError, match="called 'bach'"):
        run_pass("DynamicToFixedShape", model, dim_param=["bach"], dim_value=[1])
    again = Events()
    run_pass("DynamicToFixedShape", after, again, dim_param=["batch"], dim_value=[2])  # nothing is open any more
    assert "did not change" in again.texts("warning")
    cls = registry.load("DynamicToFixedShape")
    assert "go in pairs" in cls.problems(cls.Config(dim_param=["a"], dim_value=[]), [])[0]
    assert "nothing to fix" in cls.problems(cls.Config(), [])[0]
    assert "below 1" in cls.problems(cls.Config(dim_param=["a"], dim_value=[0]), [])[0]


def test_opset(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in", opset=13)
    for target in (18, 21):
        after = run_pass("OnnxOpVersionConversion", model, target_opset=target)
        assert {o.version for o in onnx.load(after.file).opset_import if not o.domain} == {target}
        np.testing.assert_array_equal(
            session_outputs(after, input_ids=tokens())[0], session_outputs(model, input_ids=tokens())[0]
        )
    with pytest.raises(PassError, match="opset 99 is not known"):
        run_pass("OnnxOpVersionConversion", model, target_opset=99)


def test_metadata(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    named = OnnxModel(model.path, {"precision": "int8"}, digest="abc")
    after = run_pass("AddOliveMetadata", named, graph_name="mine", custom_metadata={"author": "me", "year": 2026})
    written = onnx.load(after.file)
    assert written.graph.name == "mine"
    entries = {entry.key: entry.value for entry in written.metadata_props}
    assert entries["author"] == "me"
    assert entries["year"] == "2026"
    assert entries["olive_like.precision"] == "int8"
    assert entries["olive_like.input_digest"] == "abc"


def test_header_passes_leave_weights_alone(tmp_path: Path) -> None:
    beside = {"save_as_external_data": True, "location": "w.data", "size_threshold": 0}
    model = text_model(tmp_path / "in", **beside)
    renamed = [{"surgeon": "RenameInputs", "old_names": ["input_ids"], "new_names": ["ids"]}]
    for name, settings in (("AddOliveMetadata", {"graph_name": "g"}), ("GraphSurgeries", {"surgeries": renamed})):
        after = run_pass(name, model, **settings)
        data = next(file for file in after.path.iterdir() if file.suffix == ".data")
        assert data.read_bytes() == (model.path / "w.data").read_bytes()


def test_where_weights_go(tmp_path: Path) -> None:
    big = numpy_helper.from_array(random(64, 64))
    nodes = [node("Constant", [], ["c"], "c", value=big), node("MatMul", ["x", "c"], ["y"], "dense")]
    model = simple(tmp_path / "in", nodes, {}, out=["batch", 64])
    settings = {"graph_name": "g", "save_as_external_data": True}
    inside = run_pass("AddOliveMetadata", model, **settings)
    assert [file.name for file in inside.path.iterdir()] == ["model.onnx"]
    beside = run_pass("AddOliveMetadata", model, convert_attribute=True, external_data_name="w.bin", **settings)
    assert sorted(file.name for file in beside.path.iterdir()) == ["model.onnx", "w.bin"]
    x = random(2, 64, seed=1)
    np.testing.assert_array_equal(session_outputs(model, x=x)[0], session_outputs(beside, x=x)[0])
    each = run_pass("AddOliveMetadata", text_model(tmp_path / "text"), all_tensors_to_one_file=False, **settings)
    assert sum(file.suffix == ".data" for file in each.path.iterdir()) == 3


def test_compose_and_split(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    (expected,) = session_outputs(model, input_ids=tokens())
    parts = run_pass("SplitModel", model, split_assignments={"embed_tokens": 0, "layer.0": 1, "lm_head": 2})
    assert [part["name"] for part in parts.attributes["components"]] == ["split_0", "split_1", "split_2"]
    assert [sorted(ops(OnnxModel(parts.path / part["path"]))) for part in parts.attributes["components"]] == [
        ["Gather"], ["Add", "MatMul", "Relu"], ["MatMul"],
    ]  # fmt: skip
    whole = run_pass("ComposeOnnxModels", [parts])
    assert ops(whole) == ops(model)
    np.testing.assert_array_equal(session_outputs(whole, input_ids=tokens())[0], expected)
    halves = run_pass("SplitModel", model, num_splits=2)
    assert len(halves.attributes["components"]) == 2
    np.testing.assert_array_equal(
        session_outputs(run_pass("ComposeOnnxModels", [halves]), input_ids=tokens())[0], expected
    )
    as_text = run_pass("SplitModel", model, split_assignments="embed_tokens=0; layer.0=1; lm_head=1")
    assert isinstance(as_text, CompositeModel)
    assert len(as_text.attributes["components"]) == 2


def test_an_output_that_another_part_reads(tmp_path: Path) -> None:
    kind = (TensorProto.FLOAT, ["batch", 4])
    nodes = [node("Relu", ["x"], ["hidden"], "first/Relu"), node("Neg", ["hidden"], ["y"], "second/Neg")]
    model = save(tmp_path / "in", graph(nodes, {}, {"x": kind}, {"hidden": kind, "y": kind}))
    whole = run_pass("ComposeOnnxModels", run_pass("SplitModel", model, split_assignments={"first": 0, "second": 1}))
    assert [value["name"] for value in whole.attributes["io"]["outputs"]] == ["hidden", "y"]
    first = save(tmp_path / "a", graph(nodes[:1], {}, {"x": kind}, {"hidden": kind}))
    second = save(tmp_path / "b", graph(nodes[1:], {}, {"hidden": kind}, {"y": kind}))
    events = Events()
    plain = run_pass("ComposeOnnxModels", [first, second], events)
    assert [value["name"] for value in plain.attributes["io"]["outputs"]] == ["y"]
    assert "as a later model reads them: hidden (see `keep_outputs`)" in events.texts("note")
    kept = run_pass("ComposeOnnxModels", [first, second], keep_outputs=["hidden"])
    x = random(2, 4)
    np.testing.assert_array_equal(session_outputs(kept, x=x)[0], np.maximum(x, 0))
    with pytest.raises(PassError, match="no model has an output 'hiden' to keep"):
        run_pass("ComposeOnnxModels", [first, second], keep_outputs=["hiden"])


@pytest.mark.parametrize("form", ["onnx_adapter", "safetensors"])
def test_adapters_go_with_the_parts_that_read_them(tmp_path: Path, form: str) -> None:
    from olive_like.passes._adapter_files import read_adapter, write_adapter
    from olive_like.passes._adapter_runtime import run_with

    kind, square = (TensorProto.FLOAT, ["batch", 4]), (TensorProto.FLOAT, [4, 4])
    names = ["first.lora_A.weight", "second.lora_A.weight"]
    nodes = [
        node("MatMul", ["x", names[0]], ["hidden"], "first/MatMul"),
        node("MatMul", ["hidden", names[1]], ["between"], "second/MatMul"),
        node("Neg", ["between"], ["y"], "third/Neg"),
    ]
    zeros = dict.fromkeys(names, np.zeros((4, 4), np.float32))
    model = save(tmp_path / "in", graph(nodes, zeros, {"x": kind, **dict.fromkeys(names, square)}, {"y": kind}))
    weights = {name: random(4, 4, seed=seed) for seed, name in enumerate(names)}
    file = write_adapter(weights, model.path / "mine", form)
    model = OnnxModel(model.path, {"file": "model.onnx", "io": {}, "adapters": {"mine": file.name}})
    parts = run_pass("SplitModel", model, split_assignments={"first": 0, "second": 1, "third": 2})
    own = [
        set(read_adapter(parts.path / part["path"] / part["attributes"]["adapters"]["mine"]))
        for part in parts.attributes["components"][:2]
    ]
    assert own == [{names[0]}, {names[1]}]
    assert "adapters" not in parts.attributes["components"][2]["attributes"]
    whole = run_pass("ComposeOnnxModels", parts)
    found = read_adapter(whole.path / whole.attributes["adapters"]["mine"])
    x = random(2, 4, seed=7)
    session = ort.InferenceSession(str(whole.file), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        run_with(session, {"x": x}, found)["y"], -(x @ weights[names[0]] @ weights[names[1]]), rtol=1e-5, atol=1e-6
    )
    assert not session_outputs(whole, x=x)[0].any()  # without one


def test_what_one_part_alone_has_is_fixed_there(tmp_path: Path) -> None:
    halves = run_pass("SplitModel", text_model(tmp_path / "in"), num_splits=2)
    fixed = run_pass("DynamicToFixedShape", halves, input_name=["input_ids"], input_shape=[[1, 6]])
    first, _ = fixed.attributes["components"]
    assert first["attributes"]["io"]["inputs"][0]["shape"] == [1, 6]
    with pytest.raises(PassError, match="nothing in the model is called 'input_idds'"):
        run_pass("DynamicToFixedShape", halves, input_name=["input_idds"], input_shape=[[1, 6]])


def test_a_name_inside_of_one_part_may_be_that_of_anothers_input(tmp_path: Path) -> None:
    kind = (TensorProto.FLOAT, ["batch", 4])
    relu, neg = node("Relu", ["x"], ["w"], "r"), node("Neg", ["w"], ["y"], "n")
    first = save(tmp_path / "a", graph([relu, neg], {}, {"x": kind}, {"y": kind}))
    second = save(tmp_path / "b", graph([node("Add", ["y", "w"], ["z"], "a")], {}, {"y": kind, "w": kind}, {"z": kind}))
    whole = run_pass("ComposeOnnxModels", [first, second])
    x = np.array([[-1.0, 2, 3, 4]], np.float32)
    np.testing.assert_array_equal(session_outputs(whole, x=x, w=x)[0], x - np.maximum(x, 0))


def test_what_is_no_number_passes_no_bound() -> None:
    from olive_like.passes.onnx_graph._discrepancy import _difference

    fine = np.array([1.0, -np.inf], np.float32)
    assert _difference("y", fine, fine).tolist() == [0, 0]
    for bad in ([np.nan, -np.inf], [1, np.inf], [np.inf, -np.inf]):
        with pytest.raises(PassError, match="the output y holds NaN, or Inf"):
            _difference("y", np.array(bad, np.float32), fine)


def test_split_says_what_is_wrong(tmp_path: Path) -> None:
    model = text_model(tmp_path / "in")
    with pytest.raises(PassError, match="not said where to split"):
        run_pass("SplitModel", model)
    with pytest.raises(PassError, match=r"belongs to the module 'layer\.7'"):
        run_pass("SplitModel", model, split_assignments={"layer.7": 0})
    with pytest.raises(PassError, match="needs values of part 1"):
        run_pass("SplitModel", model, split_assignments={"embed_tokens": 1, "layer.0": 0})
    with pytest.raises(PassError, match=r"'layer\.0'"):
        run_pass("SplitModel", model, split_assignments="layer.0")


def test_compose_says_what_is_wrong(tmp_path: Path) -> None:
    first = text_model(tmp_path / "first")
    with pytest.raises(PassError, match="one model only"):
        run_pass("ComposeOnnxModels", [first])
    with pytest.raises(PassError, match="output called 'logits'"):
        run_pass("ComposeOnnxModels", [first, text_model(tmp_path / "second")])
    wants_half = save(
        tmp_path / "third",
        graph(
            [node("Relu", ["logits"], ["z"], "r")],
            {},
            {"logits": (TensorProto.FLOAT16, ["batch", "sequence", 128])},
            {"z": (TensorProto.FLOAT16, ["batch", "sequence", 128])},
        ),
    )
    with pytest.raises(PassError, match="float where it is made and float16"):
        run_pass("ComposeOnnxModels", [first, wants_half])
    with pytest.raises(PassError, match="opset 18"):
        run_pass("ComposeOnnxModels", [first, text_model(tmp_path / "fourth", opset=18)])


def test_session_tuning(tmp_path: Path) -> None:
    model, events = text_model(tmp_path / "in"), Events()
    settings = {"opt_level_list": [99, 1], "intra_thread_num_list": [1, None], "seconds_per_trial": 0.01}
    after = run_pass("OrtSessionParamsTuning", model, events, **settings)
    trials = json.loads((after.path / "session_tuning.json").read_text())["trials"]
    assert len(trials) == 4
    best = min(trials, key=lambda trial: trial["median_ms"])
    assert events.metric("latency_ms.tuned") == best["median_ms"]
    chosen = after.attributes["inference_settings"]["session_options"]
    assert chosen.get("intra_op_num_threads") == best["intra_op_num_threads"]
    assert after.file.read_bytes() == model.file.read_bytes()
    with pytest.raises(PassError, match="has no NoSuchProvider"):
        run_pass("OrtSessionParamsTuning", model, providers_list="NoSuchProvider")
    with pytest.raises(PassError, match="graph level 7"):
        run_pass("OrtSessionParamsTuning", model, opt_level_list=[7])


def test_verify_can_fail(tmp_path: Path) -> None:
    """The proof is one: with a tolerance that float16 cannot keep, it fails or warns, as told."""
    model = text_model(tmp_path / "in")
    with pytest.raises(PassError, match="differs by"):
        run_pass("OnnxFloatToFloat16", model, verify="fail", verify_tolerance=1e-7)
    events = Events()
    run_pass("OnnxFloatToFloat16", model, events, verify="warn", verify_tolerance=1e-7)
    assert "differs by" in events.texts("warning")
    quiet = Events()
    after = run_pass("OnnxFloatToFloat16", model, quiet, verify="off", verify_tolerance=1e-7)
    assert not quiet.texts("warning")
    assert "verified" not in after.attributes
