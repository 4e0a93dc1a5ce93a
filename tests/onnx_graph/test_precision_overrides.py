"""Single tensors of a type of their own, from the pass that names them to the quantised graph."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from tests.onnx_graph.small import Events, graph, random, relative, run_pass, save, session_outputs

pytestmark = pytest.mark.heavy


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("Mul", ["a", "scale"], ["b"], "scaled"),
        helper.make_node("MatMul", ["b", "w2"], ["y"], "second"),
    ]
    weights = {"w1": random(64, 64), "scale": random(64, seed=1, scale=30.0), "w2": random(64, 64, seed=2)}
    return save(tmp_path / "model", graph(nodes, weights, {"x": (1, [4, 64])}, {"y": (1, [4, 64])}))


def types(quantized: OnnxModel) -> dict[str, str]:
    """The type that each tensor of the float graph is quantised to first."""
    proto = onnx.load(quantized.file)
    zeros = {tensor.name: TensorProto.DataType.Name(tensor.data_type) for tensor in proto.graph.initializer}
    found: dict[str, str] = {}
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            found.setdefault(node.input[0], zeros[node.input[2]])
    return found


def test_overrides_reach_the_quantiser(model: OnnxModel) -> None:
    noted = run_pass("MixedPrecisionOverrides", model, overrides_config={"b": "QUInt16"})
    assert noted.file.read_bytes() == model.file.read_bytes()
    assert noted.attributes["mixed_precision_overrides"] == {"b": "uint16", "scale": "uint16"}
    settings = {"activation_type": "uint8", "precision": "uint8", "calibrate_method": "MinMax"}
    plain, mixed = (run_pass("OnnxStaticQuantization", source, **settings) for source in (model, noted))
    assert types(plain)["b"] == "UINT8"
    assert types(mixed)["b"] == "UINT16"
    assert types(mixed)["x"] == "UINT8"
    inputs = {"x": random(4, 64, seed=5, scale=0.3)}  # within the ranges of calibration
    wanted = session_outputs(model, **inputs)[0]
    errors = [relative(wanted, session_outputs(made, **inputs)[0]) for made in (plain, mixed)]
    assert errors[1] < 0.6 * errors[0]


def test_types_that_are_lost_are_counted(model: OnnxModel) -> None:
    noted = run_pass("MixedPrecisionOverrides", model, overrides_config={"b": "QUInt16"})
    events = Events()
    run_pass("OnnxStaticQuantization", noted, events, quant_format="QOperator")
    assert "2 tensors do not get the types" in events.texts("warning")
    gone = OnnxModel(model.path, noted.attributes | {"mixed_precision_overrides": {"b": "uint16", "old": "uint16"}})
    events = Events()
    run_pass("OnnxStaticQuantization", gone, events, activation_type="uint8")
    assert "1 tensors do not get the types" in events.texts("warning")


def test_a_file_of_overrides(model: OnnxModel, tmp_path: Path) -> None:
    (tmp_path / "types.json").write_text(json.dumps({"a": "uint16"}))
    noted = run_pass(
        "MixedPrecisionOverrides", model, overrides_config=tmp_path / "types.json", element_wise_binary_ops=["Add"]
    )
    assert noted.attributes["mixed_precision_overrides"] == {"a": "uint16"}


def test_what_is_wrong_is_said(model: OnnxModel) -> None:
    with pytest.raises(PassError, match="no tensor 'bb'"):
        run_pass("MixedPrecisionOverrides", model, overrides_config={"bb": "QUInt16"})
    with pytest.raises(PassError, match="type 'QUInt12' of b is not known"):
        run_pass("MixedPrecisionOverrides", model, overrides_config={"b": "QUInt12"})
