"""What static quantisation does to a graph before onnxruntime's quantiser sees it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from olive_like.passes.onnx_quantize._static import mask_nodes, own_biases


def graph_of(nodes: list, initializers: dict[str, np.ndarray]) -> ir.Model:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["n", 4]), value("c", TensorProto.BOOL, ["n", 4])],
        [value("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )  # fmt: skip
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


def test_behind_a_fused_attention_nothing_is_a_mask_any_more():
    huge = np.array(-3.4e38, np.float32)
    nodes = [
        helper.make_node("Where", ["c", "zero", "huge"], ["mask"], "where"),
        helper.make_node(
            "Attention", ["x", "w", "b", "", "", "mask"], ["a"], "attention", "com.microsoft", num_heads=1
        ),
        helper.make_node("MatMul", ["a", "w"], ["y"], "after"),
    ]
    graph = graph_of(
        nodes, {"zero": np.zeros((), "f4"), "huge": huge, "w": np.eye(4, dtype="f4"), "b": np.ones(4, "f4")}
    )
    assert mask_nodes(graph) == {"where", "attention"}


def test_a_bias_that_others_read_becomes_one_of_its_own():
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "one"),
        helper.make_node("Gemm", ["h", "w", "b"], ["g"], "two"),
        helper.make_node("Add", ["g", "b"], ["y"], "add"),
    ]
    graph = graph_of(nodes, {"w": np.eye(4, dtype="f4"), "b": np.ones(4, "f4")})
    own_biases(graph)
    names = [node.inputs[-1].name for node in graph.graph]
    assert names == ["b_of_one", "b_of_two", "b"]
    assert set(names) <= set(graph.graph.initializers)
    assert graph.graph.initializers["b_of_one"].const_value.numpy().tolist() == [1.0] * 4
