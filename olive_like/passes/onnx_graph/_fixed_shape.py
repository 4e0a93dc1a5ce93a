"""Axes with names become axes with lengths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir
from olive_like.passes._onnx_rewrite import prove_header, rewrite
from olive_like.passes.base import Context


def fix(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Fix what the settings name, and what follows from it."""
    sizes = dict(zip(config.dim_param or [], config.dim_value or [], strict=True))
    shapes = dict(zip(config.input_name or [], config.input_shape or [], strict=True))

    def change(graph: ir.Model) -> int:
        inputs = {str(value.name): value for value in graph.graph.inputs}
        wanted = dict(sizes)
        for name, shape in shapes.items():
            if name in inputs:
                wanted |= _named(inputs[name], shape)
                inputs[name].shape = ir.Shape(shape)
        changed = sum(apply_sizes(value, wanted) for value in [*graph.graph.inputs, *graph.graph.outputs])
        if changed or shapes:
            infer_again(graph)
        return changed + sum(name in inputs for name in shapes)

    return rewrite(model, config, context, change, **prove_header())


def check_names(model: OnnxModel | CompositeModel, config: Any) -> None:
    """Whether what is to be fixed is in one of the model's graphs; where all axes have lengths, it is so already."""
    graphs = [load_ir(path).graph for part in _parts(model) for path in components(part).values()]
    inputs = [value for graph in graphs for value in graph.inputs]
    axes, others = _names_of_axes(inputs), _names_of_axes(value for graph in graphs for value in graph.outputs)
    missing = [name for name in config.dim_param or [] if name not in axes | others]
    missing += [name for name in config.input_name or [] if name not in {value.name for value in inputs}]
    if missing and axes:
        described = ", ".join(f"{value.name} {value.shape}" for value in inputs)
        raise PassError(f"nothing in the model is called {missing[0]!r}", f"Its inputs: {described}. Axes: dim_param.")


def _names_of_axes(values: Iterable[ir.Value]) -> set[str]:
    return {str(axis.value) for value in values for axis in value.shape or () if isinstance(axis, ir.SymbolicDim)}


def _parts(model: OnnxModel | CompositeModel) -> list[OnnxModel]:
    if isinstance(model, OnnxModel):
        return [model]
    return [
        OnnxModel(model.path / part["path"], part["attributes"])
        for part in model.attributes["components"]
        if part["kind"] == OnnxModel.kind
    ]


def _named(value: ir.Value, shape: list[int]) -> dict[str, int]:
    """Names of axes that a whole shape gives lengths to; other inputs and outputs may have them too."""
    if value.shape is None:
        return {}
    if len(value.shape) != len(shape):
        raise PassError(f"input_shape {shape} has {len(shape)} axes, the input {value.name!r} has {len(value.shape)}")
    found = {}
    for axis, size in zip(value.shape, shape, strict=True):
        if isinstance(axis, int) and axis != size:
            raise PassError(f"input_shape {shape}: the input {value.name!r} has the fixed shape {value.shape}")
        if isinstance(axis, ir.SymbolicDim) and axis.value is not None:
            found[str(axis.value)] = size
    return found


def apply_sizes(value: ir.Value, sizes: dict[str, int]) -> int:
    """Fix the axes of a value that have a length now; says how many."""
    if value.shape is None:
        return 0
    new = [sizes.get(str(axis.value), axis) if isinstance(axis, ir.SymbolicDim) else axis for axis in value.shape]
    changed = sum(a != b for a, b in zip(new, value.shape, strict=True))
    if changed:
        value.shape = ir.Shape(new)
    return changed


def infer_again(graph: ir.Model) -> None:
    """Forget the shapes inside the graph, which have the old names, and infer them from the inputs."""
    kept = set(graph.graph.inputs) | set(graph.graph.outputs)
    for part in graph.graphs():
        for node in part:
            for value in node.outputs:
                if value not in kept:
                    value.shape = None
    common.ShapeInferencePass()(graph)
