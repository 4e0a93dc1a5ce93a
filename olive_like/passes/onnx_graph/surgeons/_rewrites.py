"""Operators written as others that compute the same."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons import rewrites as settings

_ERF_AS_TANH = 605 / 503  # tanh of so many times x is within 0.03 of erf(x)
_LARGEST_MASK = 1 << 24  # elements; weights above are no masks and need not be read
_MASK_READERS = frozenset({"Add", "Mul", "Expand", "Where", "Shape", "Cast", "CastLike", "Concat", "Slice"})


def matmul_add_to_gemm(model: ir.Model, _: settings.MatMulAddToGemm) -> int:
    changed = 0
    for node in list(model.graph):
        bias = _bias_behind(node)
        if bias is None:
            continue
        add, c = bias
        a, b = node.inputs
        if a is None or b is None or a.shape is None or b.shape is None or len(b.shape) != 2:
            continue
        sizes = list(a.shape)
        if len(sizes) == 2:
            _graph.replace([node, add], [ir.node("Gemm", [a, b, c], name=f"{node.name}_Gemm")])
        elif all(isinstance(dim, int) for dim in [*sizes, *b.shape]):
            _flat_gemm(model.graph, node, add, c, [int(dim) for dim in sizes if isinstance(dim, int)])
        else:
            continue
        changed += 1
    return changed


def _bias_behind(node: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """The Add of a vector behind a MatMul."""
    add = _graph.single_user(node.outputs[0]) if _graph.is_op(node, "MatMul") else None
    if add is None or not _graph.is_op(add, "Add"):
        return None
    other = next((value for value in add.inputs if value is not node.outputs[0]), None)
    return (add, other) if other is not None and other.shape is not None and len(other.shape) == 1 else None


def _flat_gemm(graph: ir.Graph, node: ir.Node, add: ir.Node, c: ir.Value, sizes: list[int]) -> None:
    a, b = node.inputs
    assert b is not None
    assert b.shape is not None
    rows = int(np.prod(sizes[:-1]))
    base = f"{node.name}_Gemm"
    flat = _graph.add_weight(graph, _graph.fresh(graph, f"{base}_flat"), np.array([rows, sizes[-1]], np.int64))
    back = np.array([*sizes[:-1], int(b.shape[1])], np.int64)  # type: ignore[arg-type]
    shape = _graph.add_weight(graph, _graph.fresh(graph, f"{base}_shape"), back)
    before = ir.node("Reshape", [a, flat], name=f"{base}_before")
    before.outputs[0].name = _graph.fresh(graph, f"{base}_input")
    gemm = ir.node("Gemm", [before.outputs[0], b, c], name=base)
    gemm.outputs[0].name = _graph.fresh(graph, f"{base}_output")
    after = ir.node("Reshape", [gemm.outputs[0], shape], name=f"{base}_after")
    _graph.replace([node, add], [before, gemm, after])


def transpose_weights(model: ir.Model, _: settings.MatMulToTransposeMatMul) -> int:
    changed = 0
    for node in list(model.graph):
        weight = node.inputs[1] if _graph.is_op(node, "MatMul") else None
        if weight is None or weight.const_value is None or len(weight.const_value.shape) != 2:
            continue
        turned = np.ascontiguousarray(weight.const_value.numpy().T)
        name = _graph.fresh(model.graph, f"{weight.name}_transposed")
        stored = _graph.add_weight(model.graph, name, turned)
        back = ir.node("Transpose", [stored], {"perm": [1, 0]}, name=f"{node.name}_transpose")
        back.outputs[0].name = _graph.fresh(model.graph, f"{node.name}_transposed")
        model.graph.insert_before(node, back)
        node.replace_input_with(1, back.outputs[0])
        changed += 1
    return changed


def reciprocal_mul_to_div(model: ir.Model, _: settings.ReciprocalMulToDiv) -> int:
    changed = 0
    for node in [n for graph in model.graphs() for n in graph]:
        if not _graph.is_op(node, "Mul"):
            continue
        for index, value in enumerate(node.inputs):
            source = value.producer() if value is not None else None
            if source is not None and _graph.is_op(source, "Reciprocal"):
                divided = ir.node("Div", [node.inputs[1 - index], source.inputs[0]], name=f"{node.name}_Div")
                _graph.replace([node], [divided])
                _graph.remove([source])
                changed += 1
                break
    return changed


def erf_to_tanh(model: ir.Model, _: settings.ReplaceErfWithTanh) -> int:
    changed = 0
    for graph in model.graphs():
        for node in list(graph):
            if not _graph.is_op(node, "Erf") or node.inputs[0] is None:
                continue
            dtype = (node.inputs[0].dtype or node.outputs[0].dtype or ir.DataType.FLOAT).numpy()
            name = _graph.fresh(graph, f"{node.name}_scale")
            scale = _graph.add_weight(graph, name, np.array(_ERF_AS_TANH, dtype))
            scaled = ir.node("Mul", [node.inputs[0], scale], name=f"{node.name}_Mul")
            scaled.outputs[0].name = _graph.fresh(graph, f"{node.name}_scaled")
            _graph.replace([node], [scaled, ir.node("Tanh", [scaled.outputs[0]], name=f"{node.name}_Tanh")])
            changed += 1
    return changed


def replace_mask_values(model: ir.Model, wanted: settings.ReplaceAttentionMaskValue) -> int:
    changed = 0
    for graph in model.graphs():
        for node in graph:
            if node.op_type in ("Constant", "ConstantOfShape") and "value" in node.attributes:
                tensor = node.attributes["value"].value
                replaced = _without_extremes(tensor, node.outputs[0], wanted)
                if replaced is not None:
                    node.attributes["value"] = ir.AttrTensor("value", ir.tensor(replaced))
                    changed += 1
        for value in graph.initializers.values():
            if value.const_value is not None:
                replaced = _without_extremes(value.const_value, value, wanted)
                if replaced is not None:
                    value.const_value = ir.tensor(replaced, name=value.name)
                    changed += 1
    return changed


def _without_extremes(
    tensor: ir.TensorProtocol, value: ir.Value, wanted: settings.ReplaceAttentionMaskValue
) -> np.ndarray | None:
    floats = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    if tensor.dtype not in floats or tensor.size > _LARGEST_MASK:
        return None
    if not all(use.node.op_type in _MASK_READERS for use in value.uses()):
        return None
    array = tensor.numpy()
    # The lowest number of a narrower type is above the threshold, and means the same.
    lowest = float(ml_dtypes.finfo(array.dtype).min)
    limit = wanted.threshold if tensor.dtype == ir.DataType.FLOAT else max(wanted.threshold, lowest)
    extreme = array.astype(np.float64) <= limit
    return np.where(extreme, wanted.replacement, array).astype(array.dtype) if extreme.any() else None


def remove_memcpy(model: ir.Model, _: settings.RemoveMemcpy) -> int:
    changed = 0
    for node in [n for graph in model.graphs() for n in graph]:
        if node.op_type in ("MemcpyToHost", "MemcpyFromHost") and node.inputs[0] is not None:
            source, made = node.inputs[0], node.outputs[0]
            if made.is_graph_output():
                _graph.replace([node], [ir.node("Identity", [source], name=f"{node.name}_Identity")])
            else:
                ir.convenience.replace_all_uses_with(made, source)
                _graph.remove([node])
            changed += 1
    return changed


def remove_group_index(model: ir.Model, _: settings.RemoveGidxFromMatMulNBits) -> int:
    changed = 0
    for node in [n for graph in model.graphs() for n in graph]:
        index = node.inputs[4] if _graph.is_op(node, "MatMulNBits", _graph.CONTRIB) and len(node.inputs) > 4 else None
        groups = _graph.constant(index)
        block = node.attributes.get_int("block_size", 0)
        if groups is None or not block:
            continue
        if (np.asarray(groups).reshape(-1) == np.arange(np.size(groups)) // block).all():
            node.replace_input_with(4, None)
            changed += 1
    _graph.drop_unused_weights(model)
    return changed


def remove_qdq(model: ir.Model, wanted: settings.RemoveQDQ) -> int:
    changed = 0
    for graph in model.graphs():
        for node in list(graph):
            source = node.inputs[0].producer() if _graph.is_op(node, "DequantizeLinear") and node.inputs[0] else None
            if source is None or not _graph.is_op(source, "QuantizeLinear") or source.inputs[0] is None:
                continue
            value = source.inputs[0]
            clip = _clip(graph, source) if wanted.keep_clip_after_inputs and value.is_graph_input() else None
            if clip is not None:
                _graph.replace([node], [clip])
            elif node.outputs[0].is_graph_output():
                _graph.replace([node], [ir.node("Identity", [value], name=f"{node.name}_Identity")])
            else:
                ir.convenience.replace_all_uses_with(node.outputs[0], value)
                _graph.remove([node])
            _graph.remove([source])
            changed += 1
    _graph.drop_unused_weights(model)
    return changed


def _clip(graph: ir.Graph, quantize: ir.Node) -> ir.Node | None:
    """A Clip to the range that the integers can hold."""
    scale = _graph.constant(quantize.inputs[1])
    zero = _graph.constant(quantize.inputs[2]) if len(quantize.inputs) > 2 else np.zeros((), np.uint8)
    if scale is None or zero is None or scale.size != 1:
        return None
    info = np.iinfo(zero.dtype)
    point = int(zero.reshape(-1)[0])
    bounds = []
    for name, end in (("min", info.min), ("max", info.max)):
        bound = np.array((int(end) - point) * float(scale.reshape(-1)[0]), scale.dtype)
        bounds.append(_graph.add_weight(graph, _graph.fresh(graph, f"{quantize.name}_{name}"), bound))
    return ir.node("Clip", [quantize.inputs[0], *bounds], name=f"{quantize.name}_Clip")


def decompose_quick_gelu(model: ir.Model, _: settings.DecomposeQuickGelu) -> int:
    changed = 0
    for graph in model.graphs():
        for node in list(graph):
            if not _graph.is_op(node, "QuickGelu", _graph.CONTRIB) or node.inputs[0] is None:
                continue
            x = node.inputs[0]
            alpha = np.array(node.attributes.get_float("alpha", 1.702), (x.dtype or ir.DataType.FLOAT).numpy())
            factor = _graph.add_weight(graph, _graph.fresh(graph, f"{node.name}_alpha"), alpha)
            scaled = ir.node("Mul", [x, factor], name=f"{node.name}_scale")
            gate = ir.node("Sigmoid", [scaled.outputs[0]], name=f"{node.name}_Sigmoid")
            for made in (scaled, gate):
                made.outputs[0].name = _graph.fresh(graph, f"{made.name}_output")
            _graph.replace([node], [scaled, gate, ir.node("Mul", [x, gate.outputs[0]], name=f"{node.name}_Mul")])
            changed += 1
    return changed


def merge_equal_nodes(model: ir.Model, _: object) -> int:
    """Merge nodes that compute the same from the same."""
    before = sum(1 for graph in model.graphs() for _node in graph)
    common.CommonSubexpressionEliminationPass()(model)
    return before - sum(1 for graph in model.graphs() for _node in graph)


def merge_equal_weights(model: ir.Model, _: object) -> int:
    """Merge equal weights; those of subgraphs are lifted to the main graph first."""
    before = sum(len(graph.initializers) for graph in model.graphs())
    common.LiftSubgraphInitializersToMainGraphPass()(model)
    common.DeduplicateHashedInitializersPass()(model)
    return before - sum(len(graph.initializers) for graph in model.graphs())
