"""A mask of which attention itself knows the causal part: what is left of it is padding."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from olive_like.passes.onnx_graph.surgeons import _graph

_MASK = "attention_mask"


def padding_of(bias: ir.Value) -> tuple[ir.Value, ir.Node] | None:
    """The boolean `attention_mask` and the Where that turns it to numbers, if a bias hides later positions and padding
    and nothing else.
    """
    where = made_by(bias, "Where")
    if where is None or where.inputs[0] is None or _graph.scalar(where.inputs[1]) != 0:
        return None
    padding: list[ir.Value] = []
    columns: list[ir.Node] = []
    for term in _terms(where.inputs[0]):
        later, mask = _not_later(term), _looked_up(term)
        if later is not None:
            columns.append(later)
        elif mask is not None:
            padding.append(mask[0])
            columns.append(mask[1])
        elif _graph.scalar(term) != 1:
            return None
    one_of_each = len(padding) == 1 and len(columns) == 2
    return (padding[0], where) if one_of_each and columns[0] is columns[1] else None


def made_by(value: ir.Value | None, op: str) -> ir.Node | None:
    """The node behind a value, if it is such an operator of ONNX's own."""
    node = value.producer() if value is not None else None
    return node if _graph.is_op(node, op) else None


def _terms(value: ir.Value) -> Iterator[ir.Value]:
    """What an And of Ands holds together."""
    expand = made_by(value, "Expand")
    source = expand.inputs[0] if expand is not None and expand.inputs[0] is not None else value
    both = made_by(source, "And")
    if both is None:
        yield source
        return
    for term in both.inputs:
        if term is not None:
            yield from _terms(term)


def _counting(value: ir.Value | None) -> ir.Node | None:
    """The Range from 0 behind axes that were added or stretched."""
    node = value.producer() if value is not None else None
    while node is not None and node.domain == "" and node.op_type in ("Unsqueeze", "Expand") and node.inputs[0]:
        node = node.inputs[0].producer()
    return node if node is not None and _graph.is_op(node, "Range") and _graph.scalar(node.inputs[0]) == 0 else None


def _not_later(value: ir.Value) -> ir.Node | None:
    """The numbers of the columns, if a value says which of them are not behind a row's own, the cache counted."""
    compared = made_by(value, "LessOrEqual")
    if compared is None:
        return None
    columns, rows = compared.inputs
    own = rows.producer() if rows is not None else None
    while own is not None and _graph.is_op(own, "Unsqueeze") and own.inputs[0] is not None:
        own = own.inputs[0].producer()
    if columns is None or rows is None or not _across(columns) or not _graph.is_op(own, "Add") or own is None:
        return None
    start = next((made_by(term, "Squeeze") for term in own.inputs if made_by(term, "Squeeze")), None)
    length = made_by(start.inputs[0], "Shape") if start is not None else None
    past = length.inputs[0] if length is not None else None
    cached = past is not None and past.is_graph_input() and len(past.shape or ()) == 4
    return _counting(columns) if cached and any(_counting(term) for term in own.inputs) else None


def _across(value: ir.Value) -> bool:
    """Whether a value runs along the last axis alone."""
    return value.shape is not None and len(value.shape) == 4 and all(axis == 1 for axis in list(value.shape)[:3])


def _looked_up(value: ir.Value) -> tuple[ir.Value, ir.Node] | None:
    """The mask, and the numbers of its columns, if a value is (batch, 1, 1, position) of it."""
    found = made_by(value, "GatherND")
    if found is None or found.attributes.get_int("batch_dims", 0):
        return None
    cast, places = made_by(found.inputs[0], "Cast"), made_by(found.inputs[1], "Concat")
    mask = cast.inputs[0] if cast is not None else None
    if mask is None or not mask.is_graph_input() or mask.name != _MASK or places is None or len(places.inputs) != 2:
        return None
    row, column = map(_counting, places.inputs)
    assert cast is not None
    return (cast.outputs[0], column) if row is not None and column is not None and row is not column else None
