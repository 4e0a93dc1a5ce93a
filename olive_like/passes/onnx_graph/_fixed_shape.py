"""Axes with names become axes with lengths."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir
from olive_like.passes._onnx_rewrite import prove_header, rewrite
from olive_like.passes.base import Context


def fix(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Fix what the settings name, and what follows from it."""
    sizes = dict(zip(config.dim_param or [], config.dim_value or [], strict=True))
    shapes = dict(zip(config.input_name or [], config.input_shape or [], strict=True))
    seen: set[str] = set()

    def change(graph: ir.Model) -> int:
        inputs = {str(value.name): value for value in graph.graph.inputs}
        wanted = dict(sizes)
        for name, shape in shapes.items():
            if name in inputs:
                seen.add(name)
                wanted |= _named(inputs[name], shape)
                inputs[name].shape = ir.Shape(shape)
        changed = sum(apply_sizes(value, wanted, seen) for value in [*graph.graph.inputs, *graph.graph.outputs])
        if changed or shapes:
            infer_again(graph)
        return changed + len(shapes)

    result = rewrite(model, config, context, change, **prove_header())
    missing = [name for name in [*sizes, *shapes] if name not in seen]
    if missing and _is_open(model):
        raise PassError(
            f"nothing in the model is called {missing[0]!r}", f"Its inputs: {_describe(model)}. Axes go by dim_param."
        )
    return result


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


def apply_sizes(value: ir.Value, sizes: dict[str, int], seen: set[str]) -> int:
    """Fix the axes of a value that have a length now; says how many, and notes their names."""
    if value.shape is None:
        return 0
    new = [sizes.get(str(axis.value), axis) if isinstance(axis, ir.SymbolicDim) else axis for axis in value.shape]
    seen.update(str(axis.value) for axis in value.shape if isinstance(axis, ir.SymbolicDim) and axis.value in sizes)
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


def _is_open(model: OnnxModel) -> bool:
    """Whether any axis of the inputs has a name; with none, all that could be fixed is so already."""
    graphs = (load_ir(path).graph for path in components(model).values())
    return any(isinstance(axis, ir.SymbolicDim) for g in graphs for value in g.inputs for axis in value.shape or ())


def _describe(model: OnnxModel) -> str:
    io = model.attributes.get("io") or {}
    return ", ".join(f"{value['name']} {value['shape']}" for value in io.get("inputs", [])) or "not known"
