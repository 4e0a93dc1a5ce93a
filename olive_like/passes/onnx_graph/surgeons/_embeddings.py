"""The embedding table, and the output layer that may share its weight."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons import embeddings as settings
from olive_like.passes.onnx_quantize._rounding import pack_last, round_rows

_INPUTS = ("input_ids", "inputs_embeds", "input_embeds")


def tie(model: ir.Model, _: object) -> int:
    """Let embedding and output layer read one weight, where theirs are the same."""
    gather, head = _embedding(model.graph), _head(model.graph)
    if gather is None or head is None:
        return 0
    done = 0
    if gather.op_type == "Gather" and head.op_type == "MatMul":
        done = _tie_floats(model.graph, gather, head)
    elif gather.op_type == "GatherBlockQuantized" and head.op_type == "MatMulNBits":
        done = _tie_blocks(model.graph, gather, head)
    _graph.drop_unused_weights(model)
    return done


def _embedding(graph: ir.Graph) -> ir.Node | None:
    """The node that looks the tokens up."""
    for name in _INPUTS:
        source = next((value for value in graph.inputs if value.name == name), None)
        for node, _ in source.uses() if source is not None else ():
            table = node.inputs[0]
            constant = table is not None and table.const_value is not None
            if constant and node.op_type in ("Gather", "GatherBlockQuantized"):
                return node
    return None


def _head(graph: ir.Graph) -> ir.Node | None:
    """The node that makes the logits."""
    logits = next((value for value in graph.outputs if value.name == "logits"), None)
    node = logits.producer() if logits is not None else None
    while node is not None and node.op_type in ("Cast", "Identity") and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.op_type not in ("MatMul", "MatMulNBits"):
        return None
    weight = node.inputs[1]
    return node if weight is not None and weight.const_value is not None else None


def _tie_floats(graph: ir.Graph, gather: ir.Node, head: ir.Node) -> int:
    table, weight = gather.inputs[0], head.inputs[1]
    assert table is not None
    assert weight is not None
    rows, columns = (np.shape(_graph.constant(value)) for value in (table, weight))
    if rows != columns[::-1] or not np.array_equal(_graph.constant(table), _graph.constant(weight).T):  # type: ignore[union-attr]
        return 0
    # The runtime turns a MatMul with a transposed weight into one kernel that reads it as it lies.
    back = ir.node("Transpose", [table], {"perm": [1, 0]}, name=f"{head.name}_tied")
    back.outputs[0].name = _graph.fresh(graph, f"{head.name}_tied_weight")
    back.outputs[0].type, back.outputs[0].shape = weight.type, weight.shape
    graph.insert_before(head, back)
    head.replace_input_with(1, back.outputs[0])
    return 1


def _tie_blocks(graph: ir.Graph, gather: ir.Node, head: ir.Node) -> int:
    ours, theirs = [gather.inputs[0], *gather.inputs[2:]], list(head.inputs[1:])
    same = ("bits", "block_size")
    if len(ours) != len(theirs) or any(_size(gather, name) != _size(head, name) for name in same):
        return 0
    for one, other in zip(ours, theirs, strict=True):
        a, b = _graph.constant(one), _graph.constant(other)
        if a is None or b is None or a.size != b.size or not np.array_equal(a.reshape(-1), b.reshape(-1)):
            return 0
    _read_table(graph, head, ours)
    return 1


def _size(node: ir.Node, name: str) -> int:
    return node.attributes.get_int(name, {"bits": 4, "block_size": 128}[name]) or 0


def _read_table(graph: ir.Graph, head: ir.Node, tensors: list[ir.Value | None]) -> None:
    """Let a MatMulNBits read the tensors of a GatherBlockQuantized, whose weight has two axes instead of three."""
    packed, *rest = tensors
    assert packed is not None
    assert packed.const_value is not None
    block, bits = _size(head, "block_size"), _size(head, "bits")
    inner = head.attributes.get_int("K", 0) or 0
    sizes = np.array([int(packed.const_value.shape[0]), -(-inner // block), block * bits // 8], np.int64)
    shape = _graph.add_weight(graph, _graph.fresh(graph, f"{head.name}_tied_shape"), sizes)
    reshape = ir.node("Reshape", [packed, shape], name=f"{head.name}_tied")
    reshape.outputs[0].name = _graph.fresh(graph, f"{head.name}_tied_weight")
    graph.insert_before(head, reshape)
    head.replace_input_with(1, reshape.outputs[0])
    for index, value in enumerate(rest, 2):
        if index < len(head.inputs):
            head.replace_input_with(index, value)


def share(model: ir.Model, _: settings.ShareEmbeddingLmHead) -> int:
    """As `tie`, and the output layer takes over the embedding's bits and blocks where they differ from its own."""
    done = tie(model, _)
    gather, head = _embedding(model.graph), _head(model.graph)
    if done or gather is None or head is None:
        return done
    if gather.op_type != "GatherBlockQuantized" or head.op_type != "MatMulNBits":
        return 0
    table = gather.inputs[0]
    if table is None or table.const_value is None or head.attributes.get_int("N", 0) != int(table.const_value.shape[0]):
        return 0
    inputs = [head.inputs[0], head.inputs[1], *gather.inputs[2:]]
    sizes = {name: head.attributes.get_int(name, 0) or 0 for name in ("K", "N")}
    sizes |= {name: _size(gather, name) for name in ("bits", "block_size")}
    level = head.attributes.get_int("accuracy_level", 0)
    new = ir.node(
        "MatMulNBits",
        inputs,
        {**sizes, **({"accuracy_level": level} if level else {})},
        domain=_graph.CONTRIB,
        name=f"{head.name}_shared",
    )
    _graph.replace([head], [new])
    _read_table(model.graph, new, [table, *gather.inputs[2:]])
    _graph.drop_unused_weights(model)
    return 1


def quantize_embedding(model: ir.Model, wanted: settings.QuantizeEmbeddingInt8) -> int:
    gather = _embedding(model.graph)
    if gather is None or gather.op_type != "Gather" or gather.inputs[0] is None:
        return 0
    table = gather.inputs[0]
    array, block = _graph.constant(table), wanted.block_size
    if array is None or array.ndim != 2 or table.dtype is None or array.shape[1] % block:
        return 0
    blocks = round_rows(array.astype(np.float32), 8, block, symmetric=False)
    assert blocks.zeros is not None
    parts = {
        "Q8": blocks.packed.reshape(array.shape),
        "scales": blocks.scales.astype(array.dtype),
        "zero_points": pack_last(blocks.zeros, 8),
    }
    graph = model.graph
    values = [
        _graph.add_weight(graph, _graph.fresh(graph, f"{table.name}_{name}"), part) for name, part in parts.items()
    ]
    attributes = {"bits": 8, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
    inputs = [values[0], gather.inputs[1], *values[1:]]
    new = ir.node("GatherBlockQuantized", inputs, attributes, domain=_graph.CONTRIB, name=f"{gather.name}_Q8")
    _graph.replace([gather], [new])
    _graph.need_opset(model, _graph.CONTRIB, 1)
    _graph.drop_unused_weights(model)
    return 1
