"""Inputs and outputs in another type or order of axes, with a node between them and the graph."""

from __future__ import annotations

import re
from typing import Any

import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_rewrite import prove_header, rewrite
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons import _graph

_TO_FIRST, _TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def convert(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Give all inputs and outputs that match another type."""
    source, target = _dtype(config.source_dtype, "source_dtype"), _dtype(config.target_dtype, "target_dtype")
    try:
        pattern = re.compile(config.name_pattern)
    except re.error as error:
        raise PassError(f"name_pattern {config.name_pattern!r} is no regular expression: {error}") from error

    def change(graph: ir.Model) -> int:
        main = graph.graph
        values = [v for v in [*main.inputs, *main.outputs] if pattern.search(str(v.name)) and v.dtype == source]
        for value in values:
            if value in main.inputs:
                behind_input(main, value, ir.node("Cast", [value], {"to": int(source)}))
                value.dtype = target
            else:
                before_output(main, value, "Cast", {"to": int(target)}).dtype = target
        return len(values)

    return rewrite(model, config, context, change, **prove_header(2e-2))


def to_channels_last(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Make image inputs channels-last."""

    def change(graph: ir.Model) -> int:
        main = graph.graph
        known = {str(value.name): value for value in main.inputs}
        unknown = sorted(set(config.input_names or ()) - set(known))
        if unknown:
            raise PassError(f"the model has no input {unknown[0]!r}", f"It has: {', '.join(known)}.")
        changed = 0
        for name in config.input_names or list(known):
            value = known[name]
            if value.shape is None or len(value.shape) != 4:
                if config.input_names:
                    raise PassError(f"the input {name!r} does not have four axes but the shape {value.shape}")
                continue
            first = value.shape
            behind_input(main, value, ir.node("Transpose", [value], {"perm": _TO_FIRST}))
            value.shape = ir.Shape([first[axis] for axis in _TO_LAST])
            changed += 1
        return changed

    return rewrite(model, config, context, change, comparable=False)  # the same inputs do not fit any more


def behind_input(graph: ir.Graph, value: ir.Value, node: ir.Node) -> None:
    """Put a node between an input and all that used it."""
    made = node.outputs[0]
    made.name = _graph.fresh(graph, f"{value.name}_{node.op_type.lower()}")
    node.name = _graph.fresh(graph, f"{value.name}_{node.op_type}")
    made.type, made.shape = ir.TensorType(value.dtype or ir.DataType.FLOAT), value.shape
    for user, index in list(value.uses()):
        if user is not node:
            user.replace_input_with(index, made)
    first = next(iter(graph), None)
    graph.append(node) if first is None else graph.insert_before(first, node)


def before_output(graph: ir.Graph, value: ir.Value, op: str, attributes: dict[str, Any]) -> ir.Value:
    """Put a node between the graph and an output, which keeps its name."""
    name = str(value.name)
    value.name = _graph.fresh(graph, f"{name}_before_{op.lower()}")
    node = ir.node(op, [value], attributes, name=_graph.fresh(graph, f"{name}_{op}"))
    made = node.outputs[0]
    made.name, made.type, made.shape = name, ir.TensorType(value.dtype or ir.DataType.FLOAT), value.shape
    graph.append(node)
    graph.outputs[graph.outputs.index(value)] = made
    return made


def _dtype(number: int, setting: str) -> ir.DataType:
    try:
        return ir.DataType(number)
    except ValueError:
        raise PassError(
            f"{setting} {number} is no type of ONNX", "1 float32, 10 float16, 16 bfloat16, 6 int32, 7 int64, …"
        ) from None
