"""Attention of a decoder with a cache as onnxruntime's GroupQueryAttention, which reads the cache where it lies.

MultiHeadAttention wants as many heads of keys and values as of queries, so a graph around it repeats the whole cache
for every token. The mask stays what it was, with padding on any side and sliding windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from olive_like.passes.onnx_graph._causal_mask import made_by, padding_of
from olive_like.passes.onnx_graph.surgeons import _graph

_SWAP = (0, 2, 1, 3)  # (batch, position, head, width) <-> (batch, head, position, width)
_FLAT = [0, 0, -1]  # the shape that makes (batch, position, head, width) to (batch, position, head x width)
_MASK = 5  # of MultiHeadAttention's inputs, what is added to the scores


@dataclass(frozen=True)
class _Side:
    """Keys or values: what is new, the cache that comes in, and both together, which go out."""

    new: ir.Value
    past: ir.Value
    present: ir.Value
    heads: int


def group_queries(model: ir.Model) -> int:
    """Replace every MultiHeadAttention over a cache; how many there were."""
    graph = model.graph
    found = [(node, sides) for node in graph if (sides := _cached(node)) is not None]
    if found:
        queries = [_queries(graph, node) for node, _ in found]
        tokens = next((value for value in graph.inputs if value.name == "input_ids"), queries[0])
        sizes = _Sizes(graph, tokens, found[0][1][0].past)
        for flat, (node, (keys, values)) in zip(queries, found, strict=True):
            _replace(node, flat, keys, values, sizes)
        graph.sort()
        for dead in reversed(list(graph)):
            _graph.remove([dead])
    return len(found)


def _cached(node: ir.Node) -> tuple[_Side, _Side] | None:
    """Keys and values of an attention that has a mask and reads a cache."""
    if not _graph.is_op(node, "MultiHeadAttention", _graph.CONTRIB) or len(node.inputs) != _MASK + 1:
        return None
    if node.inputs[0] is None or node.inputs[3] or node.inputs[4] or node.inputs[_MASK] is None:
        return None
    keys, values = _side(node.inputs[1]), _side(node.inputs[2])
    if keys is None or values is None or _inner(keys.past) != _inner(values.past):
        return None
    return keys, values


def _inner(value: ir.Value) -> tuple[object, object] | None:
    return (value.shape[1], value.shape[3]) if value.shape is not None else None


def _side(value: ir.Value | None) -> _Side | None:
    whole = _repeated(_heads_first(value))
    joined = made_by(whole, "Concat")
    if whole is None or joined is None or len(joined.inputs) != 2 or not whole.is_graph_output():
        return None
    past, new = joined.inputs
    if past is None or new is None or not past.is_graph_input() or joined.attributes.get_int("axis", 0) not in (-2, 2):
        return None
    if past.shape is None or len(past.shape) != 4:
        return None
    if not isinstance(past.shape[1], int) or not isinstance(past.shape[3], int):
        return None
    return _Side(new, past, whole, past.shape[1])


def _heads_first(value: ir.Value | None) -> ir.Value | None:
    """(batch, head, position, width), of which the value is the flat form (batch, position, head x width)."""
    reshape = made_by(value, "Reshape")
    shape = _graph.constant(reshape.inputs[1]) if reshape is not None else None
    if reshape is None or shape is None or shape.tolist() != _FLAT:
        return None
    return swapped(reshape.inputs[0])


def swapped(value: ir.Value | None) -> ir.Value | None:
    """What a value is with heads and positions the other way round, if a Transpose made it so."""
    node = made_by(value, "Transpose")
    return node.inputs[0] if node is not None and tuple(node.attributes.get_ints("perm", ())) == _SWAP else None


def _repeated(value: ir.Value | None) -> ir.Value | None:
    """What stands behind a repetition of every head, one after the other; without one the value itself."""
    reshape = made_by(value, "Reshape")
    expand = made_by(reshape.inputs[0], "Expand") if reshape is not None else None
    unsqueeze = made_by(expand.inputs[0], "Unsqueeze") if expand is not None else None
    if unsqueeze is None:
        return value
    axes = _graph.constant(unsqueeze.inputs[1])
    return unsqueeze.inputs[0] if axes is not None and axes.tolist() == [2] else None


class _Sizes:
    """Values about lengths that all attentions of a graph share."""

    def __init__(self, graph: ir.Graph, tokens: ir.Value | None, past: ir.Value) -> None:
        self.graph = graph
        self._masks: dict[ir.Value, tuple[ir.Value, bool]] = {}
        one, zero = self._number("one", [1]), self._number("axis_0", [0])
        batch, self._new = self._axis(tokens, 0), self._axis(tokens, 1)
        total = self._put("Add", [self._axis(past, 2), self._new])
        self.total = self._put("Cast", [self._put("Squeeze", [total, zero])], to=ir.DataType.INT32)
        last = self._put("Cast", [self._put("Sub", [total, one])], to=ir.DataType.INT32)
        self.last = self._put("Expand", [last, batch])  # the same for every row: the mask knows of padding
        self._one = one

    def mask(self, value: ir.Value) -> tuple[ir.Value, bool]:
        """The mask with a row for every new position, and whether it leaves to attention that nothing sees what comes
        later.
        """
        expand = made_by(value, "Expand")
        source = expand.inputs[0] if expand is not None and expand.inputs[0] is not None else value
        if source not in self._masks:
            found = padding_of(source)
            bias = source
            if found is not None:
                padding, where = found
                wide = self._put("Unsqueeze", [padding, self._number("heads_and_rows", [1, 2])])
                bias = self._put("Where", [wide, *where.inputs[1:]])
            shape = self._put("Concat", [self._one, self._one, self._new, self._one], axis=0)
            self._masks[source] = self._put("Expand", [bias, shape]), found is not None
        return self._masks[source]

    def _axis(self, value: ir.Value | None, axis: int) -> ir.Value:
        return self._put("Shape", [value], start=axis, end=axis + 1)

    def _number(self, name: str, value: list[int]) -> ir.Value:
        name = _graph.fresh(self.graph, f"attention_{name}")
        return _graph.add_weight(self.graph, name, np.array(value, np.int64))

    def _put(self, op: str, inputs: Sequence[ir.Value | None], **attributes: int) -> ir.Value:
        return _put(self.graph, None, op, inputs, **attributes)


def _replace(node: ir.Node, queries: ir.Value | None, keys: _Side, values: _Side, sizes: _Sizes) -> None:
    """GroupQueryAttention in place of one attention and of what joined its cache."""
    graph = sizes.graph
    mask = node.inputs[_MASK]
    assert mask is not None
    flat = [_flat(graph, side.new, node) for side in (keys, values)]
    lengths = [sizes.last, sizes.total]
    bias, causal = sizes.mask(mask)
    attributes = {"num_heads": node.attributes.get_int("num_heads", 0), "kv_num_heads": keys.heads}
    if not causal:
        attributes["causal"] = 0  # the mask says it all
    scale = node.attributes.get_float("scale", None)
    grouped = ir.node(
        "GroupQueryAttention",
        [queries, *flat, keys.past, values.past, *lengths, None, None, None, bias],
        attributes if scale is None else {**attributes, "scale": scale},
        domain=_graph.CONTRIB,
        num_outputs=3,
        name=node.name,
    )
    graph.insert_before(node, grouped)
    heads, size = attributes["num_heads"], values.past.shape[3] if values.past.shape is not None else 0
    olds = (_whole(node.outputs[0], heads * size), keys.present, values.present)
    for old, new in zip(olds, grouped.outputs, strict=True):
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        new.name, new.shape, new.type = old.name, old.shape, old.type
        old.name = None


def _queries(graph: ir.Graph, node: ir.Node) -> ir.Value | None:
    heads = _heads_first(node.inputs[0])
    return node.inputs[0] if heads is None else _flat(graph, heads, node)


def _whole(value: ir.Value, width: int) -> ir.Value:
    """What an attention's output is after its heads were taken apart, moved there and back, and put together again."""
    heads = _next(value, "Reshape")
    shape = _graph.constant(heads.inputs[1]) if heads is not None else None
    if heads is None or shape is None or shape.tolist()[:2] != [0, 0] or len(shape) != 4:
        return value
    there = _next(heads.outputs[0], "Transpose")
    back = _moved_back(there) if there is not None else heads
    together = _next(back.outputs[0], "Reshape") if back is not None else None
    result = together.outputs[0] if together is not None else value
    return result if result.shape is not None and list(result.shape)[2:] == [width] else value


def _next(value: ir.Value, op: str) -> ir.Node | None:
    """The only user of a value, if it is the operator."""
    user = _graph.single_user(value)
    return user if _graph.is_op(user, op) else None


def _moved_back(there: ir.Node) -> ir.Node | None:
    """The Transpose that undoes one; a Reshape between them may keep the shape."""
    still = _next(there.outputs[0], "Reshape")
    if still is not None and (still.outputs[0].shape is None or still.outputs[0].shape != there.outputs[0].shape):
        return None
    back = _next((still or there).outputs[0], "Transpose")
    return back if back is not None and swapped(back.outputs[0]) and swapped(there.outputs[0]) else None


def _flat(graph: ir.Graph, value: ir.Value, before: ir.Node) -> ir.Value:
    """(batch, head, position, width) as (batch, position, head x width); where it once was that, just so."""
    rotary = value.producer()
    if rotary is not None and _graph.is_op(rotary, "RotaryEmbedding", _graph.CONTRIB):
        heads, *rest = rotary.inputs
        if heads is not None and swapped(heads) is not None:  # the operator takes both forms
            return _put(graph, before, "RotaryEmbedding", [_flat(graph, heads, before), *rest], _graph.CONTRIB)
    inner = swapped(value) or _put(graph, before, "Transpose", [value], perm=_SWAP)
    reshape = made_by(inner, "Reshape")
    if reshape is not None and _is_flat(reshape.inputs[0], value):
        assert reshape.inputs[0] is not None
        return reshape.inputs[0]
    shape = _graph.add_weight(graph, _graph.fresh(graph, "attention_flat"), np.array(_FLAT, np.int64))
    return _put(graph, before, "Reshape", [inner, shape])


def _put(
    graph: ir.Graph,
    before: ir.Node | None,
    op: str,
    inputs: Sequence[ir.Value | None],
    domain: str = "",
    **attributes: int | tuple[int, ...],
) -> ir.Value:
    """The one output of a new node."""
    node = ir.node(op, inputs, attributes, domain=domain, name=_graph.fresh(graph, f"/attention/{op}"))
    node.outputs[0].name = f"{node.name}_output"
    if before is None:
        graph.append(node)
    else:
        graph.insert_before(before, node)
    return node.outputs[0]


def _is_flat(value: ir.Value | None, heads: ir.Value) -> bool:
    """Whether a value has the three axes, the last of all heads' widths together."""
    if value is None or value.shape is None or heads.shape is None or len(value.shape) != 3 or len(heads.shape) != 4:
        return False
    count, width = heads.shape[1], heads.shape[3]
    return isinstance(count, int) and isinstance(width, int) and value.shape[2] == count * width
