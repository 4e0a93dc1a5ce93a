"""Weights of MatMul as 8-bit floats behind a DequantizeLinear."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir, save_ir
from olive_like.passes._onnx_rewrite import like_input, target_of
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons._gemm import gemm_to_matmul_add
from olive_like.passes.onnx_quantize._finish import complete
from olive_like.passes.onnx_quantize._report import WeightError, weight_error
from olive_like.passes.onnx_quantize._select import (
    all_nodes,
    follow_renames,
    matching,
    name_nodes,
    nothing_to_do,
    weight_of,
)
from olive_like.passes.onnx_quantize._weights import Matrix, Spool

_TYPES = {
    "e4m3fn": (ml_dtypes.float8_e4m3fn, ir.DataType.FLOAT8E4M3FN),
    "e5m2": (ml_dtypes.float8_e5m2, ir.DataType.FLOAT8E5M2),
}
_OPSET = 19  # the first in which DequantizeLinear knows 8-bit floats


def quantize(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """All constant weights of MatMul and Gemm."""
    graphs = {path: load_ir(path) for path in components(model).values()}
    for path, graph in graphs.items():
        name_nodes(graph)
        if graph.opset_imports.get("", 0) < _OPSET:
            raise PassError(
                f"{path.name} has opset {graph.opset_imports.get('')}; 8-bit floats need {_OPSET}",
                f"Put OnnxOpVersionConversion with `target_opset: {_OPSET + 2}` before this pass.",
            )
    exclude = matching(graphs.values(), config.nodes_to_exclude, "nodes_to_exclude")
    errors: list[WeightError] = []
    for path, graph in graphs.items():
        gemm_to_matmul_add(graph)
        exclude = follow_renames(graph, exclude)
        with Spool(context.scratch / f"{path.stem}.float8") as spool:
            done: dict[int, ir.Value] = {}
            for node in list(all_nodes(graph)):
                weight = weight_of(node) if _graph.is_op(node, "MatMul") and node.name not in exclude else None
                if weight is None or weight.const_value is None or len(weight.const_value.shape) != 2:
                    continue
                if id(weight) not in done:
                    done[id(weight)], error = _narrow(weight, node, spool, config.float8_type)
                    errors.append(error)
                node.replace_input_with(1, done[id(weight)])
        _graph.drop_unused_weights(graph)
        save_ir(graph, target_of(model, path, context), like_input(config, path))
    if not errors:
        raise nothing_to_do(graphs.values(), ["MatMul", "Gemm"])
    return complete(model, config, context, errors, f"float8 {config.float8_type}", 8, method="float8")


def _narrow(weight: ir.Value, node: ir.Node, spool: Spool, kind: str) -> tuple[ir.Value, WeightError]:
    """The weight in 8 bits; what comes back is it widened again, for the node to read."""
    float8, dtype = _TYPES[kind]
    matrix = Matrix(weight)
    largest = np.zeros(matrix.columns, np.float32)
    for start, stop in matrix.pieces():
        np.maximum(largest, np.abs(matrix.read(start, stop)).max(axis=0), out=largest)
    stored_as = matrix.dtype.numpy()
    # Rounded first, so that what is divided by is what will be read. What float16 holds of smaller scales has few
    # digits, and a float in 8 bits is as exact anywhere in its range.
    least = np.float32(ml_dtypes.finfo(stored_as).smallest_normal)
    scales = np.maximum(largest / np.float32(ml_dtypes.finfo(float8).max), least).astype(stored_as)
    scale = scales.astype(np.float32)
    narrow = np.empty((matrix.rows, matrix.columns), float8)
    for start, stop in matrix.pieces():
        narrow[start:stop] = (matrix.read(start, stop) / scale).astype(float8)
    sample = slice(0, min(matrix.rows, 256))
    before = matrix.read(0, sample.stop)
    stored = int(narrow.nbytes * before.size / matrix.size) + 1
    error = weight_error(str(weight.name), before, narrow[sample].astype(np.float32) * scale, stored)
    graph = weight.graph
    assert isinstance(graph, ir.Graph)
    values = [
        spool.put(f"{weight.name}_float8", narrow, dtype),
        spool.put(f"{weight.name}_scale", scales, matrix.dtype),
    ]
    for value in values:
        graph.register_initializer(value)
    widen = ir.node("DequantizeLinear", values, {"axis": 1}, name=_graph.fresh(graph, f"{weight.name}_widen"))
    widen.outputs[0].name = _graph.fresh(graph, f"{weight.name}_widened")
    widen.outputs[0].type, widen.outputs[0].shape = weight.type, weight.shape
    first = next(iter(graph))
    graph.insert_before(first, widen)
    return widen.outputs[0], error
