"""Types of single tensors, checked against the graph and kept among the model's attributes."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import clone, components, copy_side_files, data_files, finish, load_ir, load_proto
from olive_like.passes._onnx_rewrite import target_of
from olive_like.passes.base import Context

ATTRIBUTE = "mixed_precision_overrides"
_BINARY = ("Add", "Sub", "Mul", "Div")
_TYPES = ("int8", "uint8", "int16", "uint16", "int4", "uint4")
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def note_overrides(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """The same graphs, byte for byte, with what is to become of their tensors."""
    wanted = {name: _type(kind, name) for name, kind in _given(config.overrides_config).items()}
    known: set[str] = set()
    constants: dict[str, str] = {}
    for path in components(model).values():
        graph = load_ir(path).graph
        known |= _tensors(graph)
        constants |= _constant_operands(graph, wanted, config.element_wise_binary_ops or _BINARY)
        target = target_of(model, path, context)
        clone(path, target)
        for name in data_files(load_proto(path)):
            (target.parent / name).parent.mkdir(parents=True, exist_ok=True)
            clone(path.parent / name, target.parent / name)
    missing = next((name for name in wanted if name not in known), None)
    if missing is not None:
        near = difflib.get_close_matches(missing, known, 1)
        raise PassError(f"the graph has no tensor {missing!r}", f"Did you mean {near[0]}?" if near else "")
    copy_side_files(model, context.output)
    overrides = constants | wanted
    context.note(f"{len(overrides)} tensors get a type of their own")
    return finish(context, model, {ATTRIBUTE: {**model.attributes.get(ATTRIBUTE, {}), **overrides}})


def _given(config: Path | dict[str, str]) -> dict[str, str]:
    if isinstance(config, dict):
        return config
    try:
        found = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PassError(f"{config.name} cannot be read: {error}", "It is a JSON file: {tensor: type}.") from error
    if not isinstance(found, dict):
        raise PassError(f"{config.name} is not a mapping of tensors to types")
    return found


def _type(kind: Any, name: str) -> str:
    """`QUInt16` and `uint16` are the same."""
    short = str(kind).lower().removeprefix("q")
    if short not in _TYPES:
        raise PassError(f"the type {kind!r} of {name} is not known", f"Known: {', '.join(_TYPES)}.")
    return short


def _tensors(graph: ir.Graph) -> set[str]:
    names = {str(value.name) for value in graph.inputs} | {str(name) for name in graph.initializers}
    return names | {str(value.name) for node in graph for value in node.outputs}


def _constant_operands(graph: ir.Graph, wanted: dict[str, str], ops: Any) -> dict[str, str]:
    """Constants that are added to, or multiplied with, a tensor of a type of its own."""
    found = {}
    for node in graph:
        values = [value for value in node.inputs if value is not None]
        kinds = {wanted[str(v.name)] for v in (*values, *node.outputs) if v.name in wanted}
        if node.op_type in ops and len(kinds) == 1:
            constants = (v for v in values if v.const_value is not None and v.dtype in _FLOATS)
            found.update({str(value.name): next(iter(kinds)) for value in constants})
    return found
