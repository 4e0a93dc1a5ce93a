"""Adapter matrices in a graph: found by their names, taken out, and made inputs that a request may give."""

from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir

from olive_like.errors import PassError
from olive_like.passes._adapter_files import Arrays

# `….q_proj.lora_A.weight`, or as peft names it in memory: `….q_proj.lora_A.default.weight`
_MATRIX = re.compile(r"(?P<layer>.+)\.lora_(?P<part>A|B|gain|head)(?:\.(?P<adapter>[\w-]+))?\.weight")


def take_out(model: ir.Model, *, make_inputs: bool, optional: bool, dynamic: bool) -> Arrays:
    """The adapter's matrices by the names that the graph has for them afterwards.

    As inputs they are [features in, rank] and [rank, features out], a classifier's head [features in, classes];
    those that are `optional` have defaults with which the graph is the base model.
    """
    found: Arrays = {}
    for value in list(model.graph.initializers.values()):
        match = _MATRIX.fullmatch(str(value.name))
        if match is None or value.const_value is None:
            continue
        part = match["part"]
        name = f"{match['layer']}.lora_{part}.weight"
        if name in found:
            raise PassError(f"the graph has two matrices for {name}", "Export one adapter at a time.")
        _check_use(value, part)
        value.name = name
        found[name] = value.const_value.numpy()
        if make_inputs:
            _make_input(
                model,
                value,
                part,
                f"{match['layer']}.{'classes' if part == 'head' else 'rank'}" if dynamic else None,
                optional,
            )
    return found


def _check_use(value: ir.Value, part: str) -> None:
    """The matrices are read as they lie: through a transposition or a fused op, inputs would be others."""
    odd = next((node for node, at in value.uses() if part != "gain" and (node.op_type != "MatMul" or at != 1)), None)
    if odd is not None:
        raise PassError(
            f"the adapter matrix {value.name} is read by {odd.op_type}, which cannot take it from outside",
            "Take adapters out right after OnnxConversion with merge_adapter_weights: false, before other passes.",
        )


def _make_input(model: ir.Model, value: ir.Value, part: str, rank: str | None, optional: bool) -> None:
    assert value.const_value is not None
    array = value.const_value.numpy()
    shape: list[int | str] = list(array.shape)
    default = np.ones_like(array) if part == "gain" else np.zeros_like(array)
    if part != "gain" and rank is not None:
        axis = 0 if part == "B" else 1
        shape[axis] = rank
        default = np.zeros([0 if i == axis else size for i, size in enumerate(array.shape)], array.dtype)
        if part != "B":
            for node, _ in value.uses():
                _open_last_axis(node.outputs[0], rank)
    value.shape = ir.Shape(shape)
    value.dtype = ir.DataType.from_numpy(array.dtype)
    if optional:
        value.const_value = ir.tensor(default, name=value.name)
    else:
        del model.graph.initializers[str(value.name)]
        value.const_value = None
    model.graph.inputs.append(value)


def _open_last_axis(value: ir.Value, name: str) -> None:
    """What was inferred for the rank that the model was exported with holds no longer."""
    if value.shape is not None:
        value.shape = ir.Shape([*value.shape[:-1], name])
