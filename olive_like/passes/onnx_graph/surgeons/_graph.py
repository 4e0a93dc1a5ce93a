"""What many surgeons need: constants, replacement of nodes, fresh names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from olive_like.errors import PassError

CONTRIB = "com.microsoft"


def is_op(node: ir.Node | None, op: str, domain: str = "") -> bool:
    """Whether a node is the operator."""
    return node is not None and node.op_type == op and node.domain == domain


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array behind a value, if it is a weight or made by a Constant node."""
    if value is None:
        return None
    tensor = value.const_value
    if tensor is None:
        tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def scalar(value: ir.Value | None) -> float | None:
    """The one number behind a value, if it is a constant with one element; a large weight is not read."""
    if value is None or (value.shape is not None and any(dim != 1 for dim in value.shape)):
        return None
    array = constant(value)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def fresh(graph: ir.Graph | ir.Function, name: str) -> str:
    """The name, or with a number behind it the first that no value or node of the graph has."""
    taken = {value.name for node in graph for value in node.outputs} | {node.name for node in graph}
    taken |= {value.name for value in graph.inputs}
    if isinstance(graph, ir.Graph):
        taken |= set(graph.initializers)
    candidate, number = name, 1
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def add_weight(graph: ir.Graph, name: str, data: np.ndarray | ir.TensorProtocol) -> ir.Value:
    """A new weight of the graph."""
    tensor = ir.tensor(data, name=name) if isinstance(data, np.ndarray) else data
    value = ir.Value(name=name, shape=ir.Shape(tensor.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def graph_of(node: ir.Node) -> ir.Graph:
    """The graph in which a node stands."""
    if not isinstance(node.graph, ir.Graph):
        raise PassError(
            f"the node {node.name!r} stands in a function, where this cannot be done",
            "Inline the functions first: OnnxPeepholeOptimizer does.",
        )
    return node.graph


def replace(old: Sequence[ir.Node], new: Sequence[ir.Node], before: ir.Node | None = None) -> None:
    """Put new nodes where the last of the old stands; the last new one takes over its outputs."""
    last = old[-1]
    graph = graph_of(last)
    graph.insert_before(before or last, new)
    common = min(len(last.outputs), len(new[-1].outputs))  # optional outputs that nobody reads may be missing
    ir.convenience.replace_all_uses_with(last.outputs[:common], new[-1].outputs[:common], replace_graph_outputs=True)
    for source, target in zip(last.outputs, new[-1].outputs, strict=False):
        target.name, target.shape, target.type = source.name, target.shape or source.shape, target.type or source.type
    remove(reversed(old))


def remove(nodes: Sequence[ir.Node] | reversed[ir.Node]) -> None:
    """Take out those nodes whose outputs nobody uses any more."""
    for node in nodes:
        if node.graph is not None and not any(o.uses() or o.is_graph_output() for o in node.outputs):
            node.graph.remove(node, safe=True)


def drop_unused_weights(model: ir.Model) -> None:
    """Forget the weights that nothing uses any more."""
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                del graph.initializers[name]


def single_user(value: ir.Value) -> ir.Node | None:
    """The only node that uses a value, if there is just one and the value is no output."""
    users = [use.node for use in value.uses()]
    return users[0] if len(users) == 1 and not value.is_graph_output() else None


def need_opset(model: ir.Model, domain: str, version: int) -> None:
    """Declare a domain's version where it is missing, or raise it."""
    if model.opset_imports.get(domain, 0) < version:
        model.opset_imports[domain] = version
