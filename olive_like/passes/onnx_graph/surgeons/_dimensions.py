"""What is done to axes and shapes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from olive_like.errors import PassError
from olive_like.passes.onnx_graph.surgeons import dimensions as settings
from olive_like.passes.onnx_graph.surgeons._interface import find


def rename_input_dims(model: ir.Model, wanted: settings.RenameInputDims) -> int:
    return _rename(model.graph.inputs, wanted.input_name, wanted.input_idx, wanted.dim_idx, wanted.dim_name, "input")


def rename_output_dims(model: ir.Model, wanted: settings.RenameOutputDims) -> int:
    return _rename(
        model.graph.outputs, wanted.output_name, wanted.output_idx, wanted.dim_idx, wanted.dim_name, "output"
    )


def _rename(
    values: Sequence[ir.Value], name: str | None, index: int | None, axis: int, new: str | int, kind: str
) -> int:
    if (name is None) == (index is None):
        raise PassError(f"give {kind}_name or {kind}_idx, one of them")
    if index is not None and not 0 <= index < len(values):
        raise PassError(f"{kind}_idx {index}: the model has {len(values)} {kind}s")
    value = values[index] if index is not None else find(values, str(name), kind)
    if value.shape is None or not -len(value.shape) <= axis < len(value.shape):
        raise PassError(f"the {kind} {value.name!r} with the shape {value.shape} has no axis {axis}")
    dims = list(value.shape)
    before = dims[axis]
    dims[axis] = ir.SymbolicDim(new) if isinstance(new, str) else new
    value.shape = ir.Shape(dims)
    return int(before != dims[axis])


def infer_shapes(model: ir.Model, _: settings.InferShapes) -> int:
    return int(common.ShapeInferencePass()(model).modified)


def remove_shapes(model: ir.Model, _: settings.RemoveShapes) -> int:
    changed = 0
    for graph in model.graphs():
        kept = set(graph.outputs)
        for value in (value for node in graph for value in node.outputs):
            if value not in kept and (value.shape is not None or value.type is not None):
                value.shape, value.type = None, None
                changed += 1
    return changed
