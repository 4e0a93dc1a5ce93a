"""The layer that makes the logits, told to make those of the last position alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from olive_like.passes.onnx_graph.surgeons import _graph

_PRODUCTS = (("MatMul", ""), ("FusedMatMul", _graph.CONTRIB), ("MatMulNBits", _graph.CONTRIB))
_STEPS = ("DequantizeLinear", "QuantizeLinear")  # belong to the product beside them
_BY_ELEMENT = ("Add", "Cast", "Div", "Identity", "Mul", "Sub", "Tanh", *_STEPS)  # a bias, a scale, a soft cap


def keep_last(model: ir.Model, _: object) -> int:
    """Let the head read the last position only."""
    graph = model.graph
    logits = next((value for value in graph.outputs if value.name == "logits"), None)
    if logits is None or logits.uses() or logits.shape is None or len(logits.shape) != 3 or logits.shape[1] == 1:
        return 0
    chain = _behind(logits)
    if chain is None:
        return 0
    head = chain[-1]
    while (before := _step_before(head)) is not None:
        head = before
        chain.append(head)
    _read_last(graph, head)
    for value in (node.outputs[0] for node in chain):
        if value.shape is not None and len(value.shape) == 3:
            value.shape = ir.Shape([value.shape[0], 1, value.shape[2]])
    return 1


def _behind(logits: ir.Value) -> list[ir.Node] | None:
    """The nodes from the logits back to the product with the head's weight, if nothing else reads between them."""
    chain: list[ir.Node] = []
    value: ir.Value | None = logits
    while value is not None and (value is logits or _graph.single_user(value) is not None):
        node = value.producer()
        if node is None:
            return None
        chain.append(node)
        if (node.op_type, node.domain) in _PRODUCTS:
            return chain
        if node.domain not in ("", _graph.CONTRIB) or node.op_type not in _BY_ELEMENT:
            return None
        open_inputs = [each for each in node.inputs if each is not None and each.const_value is None]
        value = open_inputs[0] if len(open_inputs) == 1 else None
    return None


def _step_before(node: ir.Node) -> ir.Node | None:
    """What rounds the values that a node reads, each by itself."""
    value = node.inputs[0]
    before = value.producer() if value is not None and len(value.uses()) == 1 else None
    if before is None or before.op_type not in _STEPS or before.domain not in ("", _graph.CONTRIB):
        return None
    by_constants = all(each is None or each.const_value is not None for each in before.inputs[1:])
    return before if by_constants and not value.is_graph_output() else None


def _read_last(graph: ir.Graph, head: ir.Node) -> None:
    hidden = head.inputs[0]
    assert hidden is not None
    place = _graph.add_weight(graph, _graph.fresh(graph, "last_position"), np.array([-1], np.int64))
    last = ir.node("Gather", [hidden, place], {"axis": 1}, name=_graph.fresh(graph, "/lm_head/last_position"))
    last.outputs[0].name = _graph.fresh(graph, f"{last.name}_output")
    last.outputs[0].type = hidden.type
    if hidden.shape is not None and len(hidden.shape) == 3:
        last.outputs[0].shape = ir.Shape([hidden.shape[0], 1, hidden.shape[2]])
    graph.insert_before(head, last)
    head.replace_input_with(0, last.outputs[0])
