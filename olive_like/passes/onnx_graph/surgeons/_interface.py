"""What is done to inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from olive_like.errors import PassError
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons import interface as settings


def rename_inputs(model: ir.Model, wanted: settings.RenameInputs) -> int:
    return _rename(model.graph, model.graph.inputs, wanted.old_names, wanted.new_names, "input")


def rename_outputs(model: ir.Model, wanted: settings.RenameOutputs) -> int:
    return _rename(model.graph, model.graph.outputs, wanted.old_names, wanted.new_names, "output")


def _rename(graph: ir.Graph, values: Sequence[ir.Value], old: list[str], new: list[str], kind: str) -> int:
    if len(old) != len(new):
        raise PassError(f"old_names has {len(old)} names and new_names has {len(new)}: they go in pairs")
    chosen = [find(values, name, kind) for name in old]
    for value, name in zip(chosen, new, strict=True):
        clash = next((v for v in _all_values(graph) if v.name == name and v not in chosen), None)
        if clash is not None:
            raise PassError(f"the name {name!r} is taken by another value of the graph")
        value.name = name
    return len(chosen)


def _all_values(graph: ir.Graph) -> list[ir.Value]:
    made = [value for node in graph for value in node.outputs]
    return [*graph.inputs, *graph.initializers.values(), *made]


def find(values: Sequence[ir.Value], name: str, kind: str) -> ir.Value:
    """An input or output by its name."""
    for value in values:
        if value.name == name:
            return value
    raise PassError(f"the model has no {kind} {name!r}", f"It has: {', '.join(str(v.name) for v in values)}.")


def reorder_inputs(model: ir.Model, wanted: settings.ReorderInputs) -> int:
    inputs = list(model.graph.inputs)
    if sorted(wanted.permutation) != list(range(len(inputs))):
        raise PassError(
            f"permutation {wanted.permutation} is not an order of the model's {len(inputs)} inputs",
            f"It has each of 0 … {len(inputs) - 1} once.",
        )
    model.graph.inputs.clear()
    model.graph.inputs.extend(inputs[index] for index in wanted.permutation)
    return int(wanted.permutation != sorted(wanted.permutation))


def remove_inputs(model: ir.Model, wanted: settings.RemoveInputs) -> int:
    for name in wanted.names:
        value = find(model.graph.inputs, name, "input")
        for node, index in list(value.uses()):
            node.replace_input_with(index, None)
        model.graph.inputs.remove(value)
    for node in reversed(list(model.graph)):
        if node.inputs and all(value is None for value in node.inputs):
            _graph.remove([node])  # it had no other input than the removed
    return len(wanted.names)


def remove_initializers_from_inputs(model: ir.Model, _: settings.RemoveInitializerFromInputs) -> int:
    before = len(model.graph.inputs)
    common.RemoveInitializersFromInputsPass()(model)
    return before - len(model.graph.inputs)


def expose_outputs(model: ir.Model, wanted: settings.ExposeOutputs) -> int:
    nodes = {node.name: node for node in model.graph}
    unknown = [name for name in wanted.names if name not in nodes]
    if unknown:
        raise PassError(f"the model has no node {unknown[0]!r}")
    return _expose(model, [value for name in wanted.names for value in nodes[name].outputs])


def expose_values(model: ir.Model, wanted: settings.AddIntermediateTensorsToOutputs) -> int:
    known = {value.name: value for node in model.graph for value in node.outputs}
    names = wanted.intermediate_tensor_to_add
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise PassError(f"no node makes the value {unknown[0]!r}")
    return _expose(model, [known[name] for name in names] if names is not None else list(known.values()))


def _expose(model: ir.Model, values: list[ir.Value]) -> int:
    if any(value.type is None for value in values):
        common.ShapeInferencePass()(model)
    new = [value for value in values if value.name and not value.is_graph_output() and value.type is not None]
    model.graph.outputs.extend(new)
    return len(new)


def expose_quantized(model: ir.Model, wanted: settings.ExposeQuantizedOutput) -> int:
    graph = model.graph
    output = find(graph.outputs, wanted.output_name, "output")
    node = output.producer()
    if node is None or not _graph.is_op(node, "DequantizeLinear"):
        raise PassError(f"the output {wanted.output_name!r} does not come from a DequantizeLinear")
    integers, *rest = node.inputs
    assert integers is not None
    graph.outputs[graph.outputs.index(output)] = integers
    if integers.type is None:
        point = rest[1] if len(rest) > 1 else None
        kind = point.dtype if point is not None and point.dtype is not None else ir.DataType.UINT8
        integers.type, integers.shape = ir.TensorType(kind), output.shape
    for value, suffix in zip(rest, ("scale", "zero_point"), strict=False):
        if value is None:
            continue
        copy = ir.node("Identity", [value], name=_graph.fresh(graph, f"{wanted.output_name}_{suffix}_identity"))
        copy.outputs[0].name = f"{wanted.output_name}_{suffix}"
        copy.outputs[0].type = value.type or (ir.TensorType(value.const_value.dtype) if value.const_value else None)
        copy.outputs[0].shape = value.shape
        graph.append(copy)
        graph.outputs.append(copy.outputs[0])
    _graph.remove([node])
    return 1


def zero_out(model: ir.Model, wanted: settings.ZeroOutInput) -> int:
    node = next((node for node in model.graph if node.name == wanted.node_name), None)
    if node is None:
        raise PassError(f"the model has no node {wanted.node_name!r}")
    if not 0 <= wanted.input_idx < len(node.inputs) or node.inputs[wanted.input_idx] is None:
        raise PassError(f"{wanted.node_name!r} has no input {wanted.input_idx}: it has {len(node.inputs)}")
    value = node.inputs[wanted.input_idx]
    assert value is not None
    if value.shape is None or value.dtype is None:
        common.ShapeInferencePass()(model)
    if value.shape is None or value.dtype is None or not all(isinstance(dim, int) for dim in value.shape):
        raise PassError(
            f"the shape of input {wanted.input_idx} of {wanted.node_name!r} is not fixed: {value.shape}",
            "Put DynamicToFixedShape before this pass.",
        )
    zeros = np.zeros([int(dim) for dim in value.shape if isinstance(dim, int)], value.dtype.numpy())
    name = _graph.fresh(model.graph, f"{wanted.node_name}_zeros")
    node.replace_input_with(wanted.input_idx, _graph.add_weight(model.graph, name, zeros))
    return 1
