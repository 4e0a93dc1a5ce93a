"""GroupQueryAttention that turns queries and keys itself, by their place in the cache; one product makes all three.

Attention sees how far apart two positions are and no more, so a row that begins with padding may count from there.
`position_ids` stays an input, which is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from olive_like.passes.onnx_graph._causal_mask import made_by
from olive_like.passes.onnx_graph.surgeons import _graph

_WAVES = {"Cos": np.cos, "Sin": np.sin}
_COS, _SIN = 7, 8  # of GroupQueryAttention's inputs


def count_positions(model: ir.Model, longest: int) -> int:
    """Let attention do what RotaryEmbedding does before it; `longest` is how many positions there can be."""
    graph = model.graph
    tables: dict[ir.Value, tuple[ir.Value, ir.Value] | None] = {}
    changed = 0
    for node in list(graph):
        turned = _turned(node)
        if turned is None:
            continue
        queries, keys, cos, sin = turned
        if cos not in tables:
            tables[cos] = _tables(graph, cos, sin, longest)
        found = tables[cos]
        if found is not None:
            _turn_inside(graph, node, queries, keys, found)
            changed += 1
    if changed:
        graph.sort()
        for dead in reversed(list(graph)):
            _graph.remove([dead])
    return changed


def _turned(node: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value] | None:
    """Queries and keys before they are turned, and the tables of both."""
    if not _graph.is_op(node, "GroupQueryAttention", _graph.CONTRIB) or node.attributes.get_int("do_rotary", 0):
        return None
    sides = [value.producer() if value is not None else None for value in node.inputs[:2]]
    if not all(_graph.is_op(side, "RotaryEmbedding", _graph.CONTRIB) for side in sides):
        return None
    first, second = (side.inputs for side in sides if side is not None)
    queries, keys, cos, sin = first[0], second[0], first[2], first[3]
    if first[1:] != second[1:] or queries is None or keys is None or cos is None or sin is None:
        return None
    return queries, keys, cos, sin


@dataclass(frozen=True)
class _Wave:
    """A cosine or sine of the positions: its frequencies, and by what it is multiplied."""

    op: str
    frequencies: ir.Value
    factor: float | None


def _wave(table: ir.Value) -> _Wave | None:
    """What a table of the positions at hand is made of, if that does not depend on anything else."""
    rows = made_by(table, "Reshape")
    half = made_by(rows.inputs[0], "Slice") if rows is not None else None
    if half is None or half.inputs[0] is None:
        return None
    wave, factor = half.inputs[0].producer(), None
    if wave is not None and _graph.is_op(wave, "Mul") and _graph.scalar(wave.inputs[1]) is not None:
        factor = _graph.scalar(wave.inputs[1])
        wave = wave.inputs[0].producer() if wave.inputs[0] is not None else None
    twice = made_by(wave.inputs[0], "Concat") if wave is not None and wave.op_type in _WAVES else None
    angles = made_by(twice.inputs[0], "Mul") if twice is not None else None
    if wave is None or angles is None or angles.inputs[1] is None or angles.inputs[1].const_value is None:
        return None
    cast = made_by(angles.inputs[0], "Cast")
    wide = made_by(cast.inputs[0], "Unsqueeze") if cast is not None else None
    positions = wide.inputs[0] if wide is not None else None
    if positions is None or not positions.is_graph_input() or positions.name != "position_ids":
        return None
    return _Wave(wave.op_type, angles.inputs[1], factor)


def _tables(graph: ir.Graph, cos: ir.Value, sin: ir.Value, longest: int) -> tuple[ir.Value, ir.Value] | None:
    """Cosines and sines of all positions, as PyTorch works them out."""
    waves = _wave(cos), _wave(sin)
    made = []
    for wave in waves:
        frequencies = _graph.constant(wave.frequencies) if wave is not None else None
        if wave is None or frequencies is None:
            return None
        angles = np.arange(longest, dtype=np.float32)[:, None] * frequencies.astype(np.float32).reshape(1, -1)
        table = _WAVES[wave.op](angles) * np.float32(1 if wave.factor is None else wave.factor)
        name = _graph.fresh(graph, f"{wave.op.lower()}_cache")
        made.append(_graph.add_weight(graph, name, table.astype(frequencies.dtype)))
    return made[0], made[1]


def _turn_inside(
    graph: ir.Graph, node: ir.Node, queries: ir.Value, keys: ir.Value, tables: tuple[ir.Value, ir.Value]
) -> None:
    values = node.inputs[2]
    assert values is not None
    packed = _cut_from([queries, keys, values]) or _packed(graph, node, [queries, keys, values])
    for place, value in enumerate((queries, keys, values) if packed is None else (packed, None, None)):
        node.replace_input_with(place, value)
    for place, table in zip((_COS, _SIN), tables, strict=True):
        node.replace_input_with(place, table)
    node.attributes.add(ir.AttrInt64("do_rotary", 1))


def _cut_from(parts: list[ir.Value]) -> ir.Value | None:
    """What parts are cut from, if side by side they are the whole of it."""
    cuts = [made_by(part, "Slice") for part in parts]
    whole = cuts[0].inputs[0] if cuts[0] is not None else None
    if whole is None or whole.shape is None or len(whole.shape) != 3 or not isinstance(whole.shape[2], int):
        return None
    end = 0
    for cut in cuts:
        if cut is None or cut.inputs[0] is not whole or len(cut.inputs) < 4:
            return None
        first, last, axis = (_graph.scalar(place) for place in cut.inputs[1:4])
        step = _graph.scalar(cut.inputs[4]) if len(cut.inputs) > 4 else 1
        if first != end or axis not in (2, -1) or step != 1 or last is None:
            return None
        end = int(min(last, whole.shape[2]))
    return whole if end == whole.shape[2] else None


@dataclass(frozen=True)
class _Linear:
    """x W + b."""

    node: ir.Node
    x: ir.Value
    weight: ir.Value
    bias: ir.Value | None


def _linear(value: ir.Value) -> _Linear | None:
    add, bias = made_by(value, "Add"), None
    if add is not None:
        bias = next((term for term in add.inputs if term is not None and _is_fixed(term, 1)), None)
        value = next(term for term in add.inputs if term is not bias and term is not None)
        if bias is None:
            return None
    product = made_by(value, "MatMul")
    if product is None or product.inputs[0] is None or product.inputs[1] is None or not _is_fixed(product.inputs[1], 2):
        return None
    if len(product.inputs[1].uses()) > 1:
        return None  # the weight would be there twice
    return _Linear(product, product.inputs[0], product.inputs[1], bias)


def _is_fixed(value: ir.Value, axes: int) -> bool:
    """Whether a value is a weight that cannot be switched."""
    fixed = value.const_value is not None and not value.is_graph_input()
    return fixed and value.shape is not None and len(value.shape) == axes


def _packed(graph: ir.Graph, before: ir.Node, parts: list[ir.Value]) -> ir.Value | None:
    """Queries, keys and values as one product, if all three are products of the same."""
    linears = [linear for linear in map(_linear, parts) if linear is not None]
    if len(linears) != len(parts) or len({linear.x for linear in linears}) > 1:
        return None
    biases = [linear.bias for linear in linears if linear.bias is not None]
    if (biases and len(biases) != len(linears)) or len({linear.weight.dtype for linear in linears}) > 1:
        return None
    name = (linears[0].node.name or "/attention/MatMul").replace("/q_proj/", "/qkv_proj/")
    weight = _joined(graph, [linear.weight for linear in linears])
    nodes = [ir.node("MatMul", [linears[0].x, weight], name=_graph.fresh(graph, name))]
    if biases:
        added = [nodes[0].outputs[0], _joined(graph, biases)]
        nodes.append(ir.node("Add", added, name=_graph.fresh(graph, name.removesuffix("MatMul") + "Add")))
    for node in nodes:
        node.outputs[0].name = f"{node.name}_output"
    graph.insert_before(before, nodes)
    return nodes[-1].outputs[0]


def _joined(graph: ir.Graph, weights: list[ir.Value]) -> ir.Value:
    """Weights side by side, put together when they are written."""
    tensors = [weight.const_value for weight in weights if weight.const_value is not None]
    name = _graph.fresh(graph, (weights[0].name or "weight").replace(".q_proj.", ".qkv_proj."))
    shape = [*map(int, tensors[0].shape)]
    shape[-1] = sum(int(tensor.shape[-1]) for tensor in tensors)

    def join() -> ir.Tensor:
        return ir.tensor(np.concatenate([tensor.numpy() for tensor in tensors], axis=-1), name=name)

    return _graph.add_weight(graph, name, ir.LazyTensor(join, tensors[0].dtype, ir.Shape(shape), name=name))
