"""Normalisations by the root of the mean square, written with LpNormalization."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from olive_like.errors import PassError
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons import rewrites as settings

_SIMPLIFIED = {"SimplifiedLayerNormalization": 1, "SkipSimplifiedLayerNormalization": 2, "RMSNormalization": 1}


def rms_to_l2(model: ir.Model, _: settings.RMSNormToL2Norm) -> int:
    """x / sqrt(mean(x^2) + e), in any of its spellings, times a weight."""
    changed = 0
    for node in list(model.graph):
        found = _rms(node)
        if found is None:
            continue
        x, last, width = found
        user = _graph.single_user(last.outputs[0])
        weight = next((v for v in user.inputs if v is not None and v.const_value is not None), None) if user else None
        if user is not None and weight is not None and _graph.is_op(user, "Mul"):
            _put_norm(model.graph, [last, user], x, _graph.constant(weight), width)
        else:
            _put_norm(model.graph, [last], x, None, width)
        changed += 1
    for dead in reversed(list(model.graph)):
        _graph.remove([dead])
    _graph.drop_unused_weights(model)
    return changed


def _rms(mean: ir.Node) -> tuple[ir.Value, ir.Node, int] | None:
    """What is normalised, the node that gives the result without its weight, and the width; from the ReduceMean."""
    square = mean.inputs[0].producer() if _graph.is_op(mean, "ReduceMean") and mean.inputs[0] is not None else None
    if square is None:
        return None
    x = square.inputs[0]
    power = _graph.is_op(square, "Pow") and _graph.scalar(square.inputs[1]) == 2
    product = _graph.is_op(square, "Mul") and square.inputs[1] is x
    if x is None or not (power or product) or x.shape is None or not isinstance(x.shape[-1], int):
        return None
    add = _graph.single_user(mean.outputs[0])
    root = _graph.single_user(add.outputs[0]) if _graph.is_op(add, "Add") and add is not None else None
    if root is None or not _graph.is_op(root, "Sqrt"):
        return None
    last = _graph.single_user(root.outputs[0])
    if last is not None and _inverts(last, root.outputs[0]):
        last = _graph.single_user(last.outputs[0])
        last = last if _graph.is_op(last, "Mul") else None
    elif last is not None and not (_graph.is_op(last, "Div") and last.inputs[1] is root.outputs[0]):
        last = None
    return (x, last, int(x.shape[-1])) if last is not None and x in last.inputs else None


def _inverts(node: ir.Node, value: ir.Value) -> bool:
    """Whether a node gives one by the value."""
    if _graph.is_op(node, "Reciprocal"):
        return True
    return _graph.is_op(node, "Div") and node.inputs[1] is value and _graph.scalar(node.inputs[0]) == 1


def simplified_to_l2(model: ir.Model, wanted: settings.SimplifiedLayerNormToL2Norm) -> int:
    unknown = sorted(set(wanted.op_types or ()) - set(_SIMPLIFIED))
    if unknown:
        raise PassError(f"op_types has {unknown[0]!r}", f"There are: {', '.join(_SIMPLIFIED)}.")
    changed = 0
    for node in list(model.graph):
        if node.op_type not in (wanted.op_types or _SIMPLIFIED):
            continue
        place = _SIMPLIFIED[node.op_type]
        weight = _graph.constant(node.inputs[place]) if len(node.inputs) == place + 1 else None
        if weight is None or node.attributes.get_int("axis", -1) not in (-1, _last_axis(node)):
            continue
        _replace_simplified(model.graph, node, weight)
        changed += 1
    _graph.drop_unused_weights(model)
    return changed


def _last_axis(node: ir.Node) -> int | None:
    value = node.inputs[0]
    return len(value.shape) - 1 if value is not None and value.shape is not None else None


def _replace_simplified(graph: ir.Graph, node: ir.Node, weight: np.ndarray) -> None:
    x = node.inputs[0]
    if node.op_type.startswith("Skip"):
        total = ir.node("Add", node.inputs[:2], name=f"{node.name}_Add")
        total.outputs[0].name = _graph.fresh(graph, f"{node.name}_sum")
        graph.insert_before(node, total)
        x = total.outputs[0]
        if len(node.outputs) > 3:  # the sum is the fourth output, and used further on
            old = node.outputs[3]
            x.type, x.shape = old.type, old.shape
            ir.convenience.replace_all_uses_with(old, x, replace_graph_outputs=True)
    assert x is not None
    _put_norm(graph, [node], x, weight, weight.shape[-1])


def _put_norm(graph: ir.Graph, old: list[ir.Node], x: ir.Value, weight: np.ndarray | None, width: int) -> None:
    """LpNormalization and a Mul with the weight times the root of the width, in place of nodes."""
    name = str(old[0].name)
    dtype = weight.dtype if weight is not None else (x.dtype or ir.DataType.FLOAT).numpy()
    plain = weight is None or (weight == 1).all()  # weights of one are usual after rotation: one number does for all
    factor = np.sqrt(width) * (np.ones(1) if plain or weight is None else weight.astype(np.float64))
    scale = _graph.add_weight(graph, _graph.fresh(graph, f"{name}_weight"), factor.astype(dtype))
    norm = ir.node("LpNormalization", [x], {"axis": -1, "p": 2}, name=f"{name}_L2Norm")
    norm.outputs[0].name = _graph.fresh(graph, f"{name}_normalized")
    norm.outputs[0].type, norm.outputs[0].shape = x.type, x.shape
    _graph.replace(old, [norm, ir.node("Mul", [norm.outputs[0], scale], name=f"{name}_Mul")])


def spelled_lp_norm(model: ir.Model, _: settings.PowReduceSumPowDiv2LpNorm) -> int:
    """x / (sum(x^2))^0.5."""
    changed = 0
    for node in list(model.graph):
        norm = node.inputs[1].producer() if _graph.is_op(node, "Div") and node.inputs[1] is not None else None
        root = _is_power(norm, 0.5)
        total = root.producer() if root is not None else None
        if total is None or not _graph.is_op(total, "ReduceSum") or total.inputs[0] is None:
            continue
        square = total.inputs[0].producer()
        x = _is_power(square, 2.0)
        if x is None or x is not node.inputs[0] or not _over_last(total, x):
            continue
        new = ir.node("LpNormalization", [x], {"axis": -1, "p": 2}, name=f"{node.name}_L2Norm")
        _graph.replace([node], [new])
        _graph.remove([n for n in (norm, total, square) if n is not None])
        changed += 1
    return changed


def _is_power(node: ir.Node | None, exponent: float) -> ir.Value | None:
    """The base of a Pow with this exponent."""
    if node is None or not _graph.is_op(node, "Pow") or _graph.scalar(node.inputs[1]) != exponent:
        return None
    return node.inputs[0]


def _over_last(total: ir.Node, x: ir.Value) -> bool:
    axes = _graph.constant(total.inputs[1]) if len(total.inputs) > 1 else total.attributes.get_ints("axes", [])
    listed = [int(axis) for axis in np.asarray(axes if axes is not None else []).reshape(-1)]
    last = len(x.shape) - 1 if x.shape is not None else -1
    return listed in ([-1], [last]) and total.attributes.get_int("keepdims", 1) == 1
