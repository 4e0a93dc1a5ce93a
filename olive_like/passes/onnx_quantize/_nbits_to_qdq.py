"""MatMulNBits as DequantizeLinear and MatMul."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, load_ir, save_ir
from olive_like.passes._onnx_rewrite import like_input, prove, target_of
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph._opset import convert_opset
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_quantize._rounding import unpack
from olive_like.passes.onnx_quantize._select import all_nodes, matching, name_nodes

_OPSET = 21  # the first with blocks and 4-bit types in DequantizeLinear
_TOLERANCE = 5e-2  # kernels of MatMulNBits may compute with 8-bit activations, which plain MatMul does not
_PLAIN = {4: (ir.DataType.UINT4, ir.DataType.INT4), 8: (ir.DataType.UINT8, ir.DataType.INT8)}


def convert(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """Every MatMulNBits but the excluded."""
    graphs = {path: load_ir(path) for path in components(model).values()}
    for graph in graphs.values():
        name_nodes(graph)
    exclude = matching(graphs.values(), config.nodes_to_exclude, "nodes_to_exclude")
    changed = 0
    for path, graph in graphs.items():
        done: dict[int, ir.Value] = {}
        for node in list(all_nodes(graph)):
            if _graph.is_op(node, "MatMulNBits", _graph.CONTRIB) and node.name not in exclude:
                _rewrite(node, config, done)
                changed += 1
        if changed:
            convert_opset(graph, max(_OPSET, graph.opset_imports.get("", 0)))
        _graph.drop_unused_weights(graph)
        save_ir(graph, target_of(model, path, context), like_input(config, path))
    if not changed:
        raise PassError(
            "the model has no MatMulNBits to convert",
            "Put OnnxBlockWiseRtnQuantization or another weight-only quantisation before this pass.",
        )
    context.metric("changes", changed)
    return prove(model, config, context, _TOLERANCE)


def _rewrite(node: ir.Node, config: Any, done: dict[int, ir.Value]) -> None:
    packed = _packed(node)
    if packed is None or packed.const_value is None:
        raise PassError(f"the weight of {node.name!r} is no constant")
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        raise PassError(
            f"{node.name!r} has a group index, which DequantizeLinear has not",
            "Quantise without act-order, or use the surgeon RemoveGidxFromMatMulNBits where the index is trivial.",
        )
    if id(packed) not in done:
        done[id(packed)] = _widened(node, packed, config)
    weight = done[id(packed)]
    new: list[ir.Node] = []
    if config.use_transpose_op:
        new.append(ir.node("Transpose", [weight], {"perm": [1, 0]}, name=f"{node.name}_transpose"))
        new[0].outputs[0].name = f"{node.name}_transposed"
        weight = new[0].outputs[0]
    new.append(ir.node("MatMul", [node.inputs[0], weight], name=f"{node.name}_matmul"))
    bias = node.inputs[5] if len(node.inputs) > 5 else None
    if bias is not None:
        new[-1].outputs[0].name = f"{node.name}_product"
        new.append(ir.node("Add", [new[-1].outputs[0], bias], name=f"{node.name}_bias"))
    reshape = node.inputs[1].producer() if node.inputs[1] is not None else None
    _graph.replace([node], new)
    if reshape is not None and reshape.graph is not None and not reshape.outputs[0].uses():
        reshape.graph.remove(reshape, safe=True)


def _packed(node: ir.Node) -> ir.Value | None:
    """The integers of the weight; a head that shares them with the embedding sees them through a Reshape."""
    value = node.inputs[1]
    producer = value.producer() if value is not None else None
    return producer.inputs[0] if producer is not None and producer.op_type == "Reshape" else value


def _widened(node: ir.Node, weight: ir.Value, config: Any) -> ir.Value:
    """The weight behind a DequantizeLinear, [K, N], or [N, K] for a Transpose in the graph."""
    sizes = {name: node.attributes.get_int(name) for name in ("K", "N", "block_size")}
    inner, outer, block = (int(sizes[name] or 0) for name in ("K", "N", "block_size"))
    bits = node.attributes.get_int("bits", 4) or 4
    packed, scales, zeros = _graph.constant(weight), _constant(node, 2), _constant(node, 3)
    assert packed is not None
    assert scales is not None
    blocks = -(-inner // block)
    values = unpack(packed.reshape(outer, blocks, -1), bits).reshape(outer, -1)[:, :inner]
    scales = scales.reshape(outer, blocks)
    middle = 1 << (bits - 1)
    if zeros is not None and zeros.dtype != np.uint8:
        raise PassError(
            f"{node.name!r} has zero points that are no integers", "Quantise with a method that rounds them."
        )
    points = None if zeros is None else unpack(zeros.reshape(outer, -1), bits)[:, :blocks]
    needs_points = points is not None or config.add_zero_point or not config.use_signed_int
    if points is None:
        points = np.full((outer, blocks), middle, np.uint8)
    unsigned, signed = _PLAIN[bits if config.use_int4 and bits == 4 else 8]
    dtype = signed if config.use_signed_int else unsigned
    if config.use_signed_int:
        values, points = (part.astype(np.int16) - middle for part in (values, points))
    axis = 1 if config.use_transpose_op else 0
    parts = [values, scales, points] if needs_points else [values, scales]
    if axis == 0:
        parts = [np.ascontiguousarray(part.T) for part in parts]
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    base = str(weight.name)
    tensors = [_integers(parts[0], dtype), parts[1], *(_integers(part, dtype) for part in parts[2:])]
    names = ("quantized", "scale", "zero_point")
    inputs = [
        _graph.add_weight(graph, _graph.fresh(graph, f"{base}_{name}"), tensor)
        for name, tensor in zip(names, tensors, strict=False)
    ]
    dequantize = ir.node(
        "DequantizeLinear", inputs, {"axis": axis, "block_size": block}, name=f"{node.name}_DequantizeLinear"
    )
    dequantize.outputs[0].name = _graph.fresh(graph, f"{base}_dequantized")
    graph.insert_before(next(iter(graph)), dequantize)
    return dequantize.outputs[0]


def _constant(node: ir.Node, index: int) -> np.ndarray | None:
    return _graph.constant(node.inputs[index]) if index < len(node.inputs) else None


def _integers(array: np.ndarray, dtype: ir.DataType) -> Any:
    if dtype == ir.DataType.UINT8:
        return array.astype(np.uint8)
    if dtype == ir.DataType.INT8:
        return array.astype(np.int8)
    narrow = ml_dtypes.uint4 if dtype == ir.DataType.UINT4 else ml_dtypes.int4
    return ir.Tensor(array.astype(narrow), dtype=dtype)
