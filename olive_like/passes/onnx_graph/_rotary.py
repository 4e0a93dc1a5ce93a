"""Rotary position embeddings as onnxruntime's RotaryEmbedding.

The operator looks sines and cosines up in tables by position. Here the tables are what the graph computes for the
positions at hand, numbered in order: no longest position is built in, and any scaling of the frequencies stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from olive_like.passes.onnx_graph._causal_mask import made_by
from olive_like.passes.onnx_graph.surgeons import _graph


@dataclass(frozen=True)
class _Rotation:
    """x * cos + rotated(x) * sin, and where its angles come from."""

    x: ir.Value
    cos: ir.Value
    sin: ir.Value
    angles: ir.Value  # (batch, position, half a head's width)


def fuse_rotary(model: ir.Model) -> int:
    """Replace rotations of whole heads by halves; how many there were."""
    graph = model.graph
    found = [(node, rotation) for node in graph if (rotation := _rotation(node)) is not None]
    tables: dict[tuple[ir.Value, ir.Value], _Tables] = {}
    for node, rotation in found:
        key = (rotation.cos, rotation.sin)
        if key not in tables:
            tables[key] = _Tables(graph, rotation, node)
        tables[key].rotate(node, rotation.x)
    if found:
        graph.sort()
        for dead in reversed(list(graph)):
            _graph.remove([dead])
    return len(found)


def _rotation(node: ir.Node) -> _Rotation | None:
    """What an Add sums up, if it is a rotation."""
    if not _graph.is_op(node, "Add"):
        return None
    straight, turned = (made_by(value, "Mul") for value in node.inputs)
    if straight is None or turned is None:
        return None
    x, cos = straight.inputs
    turn, sin = turned.inputs
    angles = _angles(cos, "Cos")
    if x is None or cos is None or sin is None or angles is None or angles is not _angles(sin, "Sin"):
        return None
    return _Rotation(x, cos, sin, angles) if _is_turned(turn, x) else None


def _is_turned(value: ir.Value | None, x: ir.Value) -> bool:
    """Whether a value is x with its halves changed about and the first negative."""
    joined = made_by(value, "Concat")
    if joined is None or len(joined.inputs) != 2 or x.shape is None or not isinstance(x.shape[-1], int):
        return False
    negative, half = made_by(joined.inputs[0], "Neg"), x.shape[-1] // 2
    if negative is None or joined.attributes.get_int("axis", 0) not in (-1, 3):
        return False
    return _is_slice(negative.inputs[0], x, half, x.shape[-1]) and _is_slice(joined.inputs[1], x, 0, half)


def _is_slice(value: ir.Value | None, x: ir.Value, start: int, end: int) -> bool:
    node = made_by(value, "Slice")
    if node is None or node.inputs[0] is not x or len(node.inputs) < 4:
        return False
    first, last, axis = (_graph.scalar(place) for place in node.inputs[1:4])
    step = _graph.scalar(node.inputs[4]) if len(node.inputs) > 4 else 1
    return (first, axis in (3, -1), step) == (start, True, 1) and last is not None and min(last, x.shape[-1]) == end


def _angles(value: ir.Value | None, function: str) -> ir.Value | None:
    """The angles behind cosines or sines of (batch, 1, position, width), each there twice; a factor may follow."""
    wide = made_by(value, "Unsqueeze")
    if wide is None or _graph.scalar(wide.inputs[1]) != 1:
        return None
    waves = made_by(wide.inputs[0], function)
    scaled = made_by(wide.inputs[0], "Mul")
    if scaled is not None and _graph.scalar(scaled.inputs[1]) is not None:
        waves = made_by(scaled.inputs[0], function)
    twice = made_by(waves.inputs[0], "Concat") if waves is not None else None
    if twice is None or len(twice.inputs) != 2 or twice.inputs[0] is not twice.inputs[1]:
        return None
    angles = twice.inputs[0]
    return angles if angles is not None and angles.shape is not None and len(angles.shape) == 3 else None


class _Tables:
    """Cosines and sines of one kind of layer, and the numbers of their rows."""

    def __init__(self, graph: ir.Graph, rotation: _Rotation, before: ir.Node) -> None:
        self._graph, self._before = graph, before
        width = rotation.angles.shape[-1] if rotation.angles.shape is not None else None
        assert isinstance(width, int)
        self._width = 2 * width
        rows = self._weight("rows", [-1, width])
        self._cos, self._sin = (self._table(wave, rows) for wave in (rotation.cos, rotation.sin))
        count = self._node("Squeeze", [self._node("Shape", [self._cos], start=0, end=1)])
        number, step = self._weight("first", 0), self._weight("step", 1)
        every = self._node("Range", [number, count, step])
        shape = self._node("Shape", [rotation.angles], start=0, end=2)
        self._positions = self._node("Reshape", [every, shape])

    def _table(self, wave: ir.Value, rows: ir.Value) -> ir.Value:
        """The cosines or sines of all positions at hand, a row each."""
        unsqueeze = made_by(wave, "Unsqueeze")
        assert unsqueeze is not None
        zero, half, last, one = (
            self._weight(name, [value])
            for name, value in (("zero", 0), ("half", self._width // 2), ("last", 2), ("one", 1))
        )
        return self._node("Reshape", [self._node("Slice", [unsqueeze.inputs[0], zero, half, last, one]), rows])

    def rotate(self, node: ir.Node, x: ir.Value) -> None:
        """RotaryEmbedding in place of a sum."""
        rotary = ir.node(
            "RotaryEmbedding",
            [x, self._positions, self._cos, self._sin],
            domain=_graph.CONTRIB,
            name=_graph.fresh(self._graph, "/rotary/RotaryEmbedding"),
        )
        self._graph.insert_before(node, rotary)
        old, new = node.outputs[0], rotary.outputs[0]
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        new.name, new.shape, new.type = old.name, old.shape, old.type
        old.name = None

    def _weight(self, name: str, value: int | list[int]) -> ir.Value:
        return _graph.add_weight(self._graph, _graph.fresh(self._graph, f"rotary_{name}"), np.array(value, np.int64))

    def _node(self, op: str, inputs: list[ir.Value | None], **attributes: int) -> ir.Value:
        node = ir.node(op, inputs, attributes, name=_graph.fresh(self._graph, f"/rotary/{op}"))
        node.outputs[0].name = f"{node.name}_output"
        self._graph.insert_before(self._before, node)
        return node.outputs[0]
