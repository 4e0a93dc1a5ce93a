"""Patterns become the operators that Qualcomm's processors have, and the numbers stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from olive_like.errors import PassError
from tests.onnx_graph.small import Events, graph, ops, random, run_pass, save, session_outputs

pytestmark = pytest.mark.heavy


def test_gelu_and_layer_norm_are_fused(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Div", ["x", "root"], ["d"], "a"),
        node("Erf", ["d"], ["e"], "b"),
        node("Add", ["e", "one"], ["f"], "c"),
        node("Mul", ["x", "f"], ["g"], "d"),
        node("Mul", ["g", "half"], ["h"], "e"),
        node("ReduceMean", ["h", "last"], ["m"], "f"),
        node("Sub", ["h", "m"], ["s"], "g"),
        node("Pow", ["s", "two"], ["p"], "h"),
        node("ReduceMean", ["p", "last"], ["v"], "i"),
        node("Add", ["v", "tiny"], ["w"], "j"),
        node("Sqrt", ["w"], ["q"], "k"),
        node("Div", ["s", "q"], ["n"], "l"),
        node("Mul", ["n", "gain"], ["o"], "m"),
        node("Add", ["o", "bias"], ["y"], "n"),
    ]
    numbers = {"root": 2**0.5, "one": 1.0, "half": 0.5, "two": 2.0, "tiny": 1e-5}
    weights = {name: np.array(number, np.float32) for name, number in numbers.items()}
    weights |= {"last": np.array([-1]), "gain": random(64), "bias": random(64, seed=1)}
    shape = (TensorProto.FLOAT, [2, 8, 64])
    model = save(tmp_path / "in", graph(nodes, weights, {"x": shape}, {"y": shape}))
    events = Events()
    after = run_pass("QNNPreprocess", model, events, fuse_layernorm=True, verify="fail")
    assert ops(after) == {"Gelu": 1, "LayerNormalization": 1}
    assert "fused: Gelu 1, LayerNormalization 1" in events.texts("note")
    x = random(2, 8, 64, seed=2, scale=1.0)
    np.testing.assert_allclose(session_outputs(after, x=x)[0], session_outputs(model, x=x)[0], atol=1e-4)


def test_channels_go_last(tmp_path: Path) -> None:
    picture = (TensorProto.FLOAT, [1, 3, 4, 5])
    relu = helper.make_node("Relu", ["x"], ["y"], "relu")
    model = save(tmp_path / "in", graph([relu], {}, {"x": picture}, {"y": picture}))
    after = run_pass("QNNPreprocess", model, inputs_to_make_channel_last=["x"], outputs_to_make_channel_last=["y"])
    x = random(1, 4, 5, 3)
    np.testing.assert_array_equal(session_outputs(after, x=x)[0], np.maximum(x, 0))
    with pytest.raises(PassError, match="no input or output 'z'"):
        run_pass("QNNPreprocess", model, inputs_to_make_channel_last=["z"])
