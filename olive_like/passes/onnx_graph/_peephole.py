"""Small rewrites by onnxscript and onnx-ir, and some of our own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_rewrite import rewrite
from olive_like.passes._simplify import simplify
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons import _graph

_CONTRIB = _graph.CONTRIB
# What each type holds exactly, beside itself.
_WIDER = {
    ir.DataType.FLOAT16: {ir.DataType.FLOAT, ir.DataType.DOUBLE},
    ir.DataType.BFLOAT16: {ir.DataType.FLOAT, ir.DataType.DOUBLE},
    ir.DataType.FLOAT: {ir.DataType.DOUBLE},
    ir.DataType.INT32: {ir.DataType.INT64, ir.DataType.DOUBLE},
    ir.DataType.INT8: {ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT},
    ir.DataType.UINT8: {ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT},
    ir.DataType.BOOL: {ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT},
}


def optimize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """All rewrites that the settings ask for."""

    def change(graph: ir.Model) -> int:
        before, changes = count_nodes(graph), 0
        if config.onnxscript_optimize:
            simplify(graph)
        if config.fuse_reshape_operations:
            changes += fuse_reshapes(graph)
        if config.cast_chain_elimination:
            changes += shorten_casts(graph)
        if config.onnxoptimizer_optimize:
            changes += _by_onnx_ir(graph)
        if config.fix_com_microsoft_opset:
            changes += fix_contrib_opset(graph)
        after = count_nodes(graph)
        context.note(f"{before} nodes before, {after} after")
        return max(changes, before - after)

    return rewrite(model, config, context, change)


def count_nodes(graph: ir.Model) -> int:
    return sum(1 for part in graph.graphs() for _ in part)


def _by_onnx_ir(graph: ir.Model) -> int:
    passes: list[Any] = [
        common.InlinePass(),
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.DeduplicateInitializersPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
    ]
    return sum(bool(step(graph).modified) for step in passes)


def fuse_reshapes(graph: ir.Model) -> int:
    """Of two Reshapes in a row the first does nothing, if the second does not copy axes from it."""
    changed = 0
    for part in graph.graphs():
        for node in list(part):
            first = node.inputs[0].producer() if node.op_type == "Reshape" and node.inputs[0] is not None else None
            if first is None or not _graph.is_op(first, "Reshape") or not _graph.is_op(node, "Reshape"):
                continue
            shape = _graph.constant(node.inputs[1])
            if shape is None or (np.asarray(shape) == 0).any() or node.attributes.get_int("allowzero", 0):
                continue
            node.replace_input_with(0, first.inputs[0])
            _graph.remove([first])
            changed += 1
    return changed


def shorten_casts(graph: ir.Model) -> int:
    """Of two Casts in a row the first does nothing, if its type holds everything; nor does a Cast to the same type."""
    changed = 0
    for part in graph.graphs():
        for node in list(part):
            if not _graph.is_op(node, "Cast") or node.inputs[0] is None:
                continue
            first = node.inputs[0].producer()
            if first is not None and _graph.is_op(first, "Cast") and _exact(first):
                node.replace_input_with(0, first.inputs[0])
                _graph.remove([first])
                changed += 1
            if _is_idle(node):
                ir.convenience.replace_all_uses_with(node.outputs[0], node.inputs[0])
                _graph.remove([node])
                changed += 1
    return changed


def _exact(cast: ir.Node) -> bool:
    source = cast.inputs[0].dtype if cast.inputs[0] is not None else None
    target = ir.DataType(cast.attributes.get_int("to") or 0)
    return source is not None and (target == source or target in _WIDER.get(source, ()))


def _is_idle(cast: ir.Node) -> bool:
    source = cast.inputs[0]
    assert source is not None
    return (
        source.dtype is not None
        and int(source.dtype) == cast.attributes.get_int("to")
        and not cast.outputs[0].is_graph_output()
    )


def fix_contrib_opset(graph: ir.Model) -> int:
    """Domains that the graph uses and does not declare, or declares in an impossible version."""
    used = {node.domain for part in graph.graphs() for node in part}
    if _CONTRIB not in used or graph.opset_imports.get(_CONTRIB) == 1:
        return 0
    graph.opset_imports[_CONTRIB] = 1
    return 1
