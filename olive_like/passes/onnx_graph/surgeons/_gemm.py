"""Gemm to MatMul and Add, and back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons.rewrites import GemmToMatMulAdd


def gemm_to_matmul_add(model: ir.Model, settings: GemmToMatMulAdd | None = None) -> int:
    """Write every Gemm whose factors can be folded as MatMul and Add; returns how many."""
    changed = 0
    for graph in model.graphs():
        for node in list(graph):
            if _graph.is_op(node, "Gemm") and _split(graph, node):
                changed += 1
    _graph.drop_unused_weights(model)
    return changed


def fold_transposed_weights(model: ir.Model) -> int:
    """Let every MatMul that reads a transposed weight read a constant instead; returns how many.

    An embedding that also makes the logits is stored twice by this, and only so can a MatMul take it as integers.
    """
    changed = 0
    for graph in model.graphs():
        for node in list(graph):
            source = node.inputs[1].producer() if _graph.is_op(node, "MatMul") and node.inputs[1] is not None else None
            if source is None or not _graph.is_op(source, "Transpose") or source.inputs[0] is None:
                continue
            weight = source.inputs[0]
            if weight.const_value is None or list(source.attributes.get_ints("perm", [1, 0])) != [1, 0]:
                continue
            if weight.graph is not graph or len(weight.const_value.shape) != 2:
                continue
            node.replace_input_with(1, _transposed(graph, node, weight, []))
            _graph.remove([source])
            changed += 1
    _graph.drop_unused_weights(model)
    return changed


def _split(graph: ir.Graph, node: ir.Node) -> bool:
    a, b = node.inputs[0], node.inputs[1]
    c = node.inputs[2] if len(node.inputs) > 2 else None
    alpha, beta = (node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    if alpha != 1.0 or (c is not None and beta not in (0.0, 1.0)) or a is None or b is None:
        return False
    new: list[ir.Node] = []
    if node.attributes.get_int("transA", 0):
        new.append(ir.node("Transpose", [a], {"perm": [1, 0]}, name=f"{node.name}_transpose_a"))
        a = new[-1].outputs[0]
    if node.attributes.get_int("transB", 0):
        b = _transposed(graph, node, b, new)
    new.append(ir.node("MatMul", [a, b], name=f"{node.name}_MatMul"))
    if c is not None and beta:
        new[-1].outputs[0].name = _graph.fresh(graph, f"{node.outputs[0].name}_product")
        new.append(ir.node("Add", [new[-1].outputs[0], c], name=f"{node.name}_Add"))
    _graph.replace([node], new)
    return True


def _transposed(graph: ir.Graph, node: ir.Node, weight: ir.Value, new: list[ir.Node]) -> ir.Value:
    """A weight with its axes swapped: at once if it is a constant, by a node if not."""
    tensor = weight.const_value
    if tensor is None or weight.is_graph_input():
        new.append(ir.node("Transpose", [weight], {"perm": [1, 0]}, name=f"{node.name}_transpose_b"))
        return new[-1].outputs[0]
    name = f"{weight.name}_transposed"
    if name in graph.initializers:
        return graph.initializers[name]
    shape = ir.Shape(list(tensor.shape)[::-1])
    lazy = ir.LazyTensor(
        lambda: ir.tensor(np.ascontiguousarray(tensor.numpy().T), dtype=tensor.dtype, name=name),
        dtype=tensor.dtype,
        shape=shape,
        name=name,
    )
    value = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=lazy)
    graph.register_initializer(value)
    return value
