"""Which nodes a pass may touch, and whether their weights can be quantised at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

import ml_dtypes
import numpy as np
import onnx_ir as ir

from olive_like.errors import PassError

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
QUANTIZED_OPS = frozenset(
    {
        "MatMulNBits",
        "MatMulBnb4",
        "GatherBlockQuantized",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QLinearMatMul",
        "QLinearConv",
        "ConvInteger",
        "QAttention",
        "QGemm",
        "DequantizeLinear",
    }
)
_CHUNK = 1 << 22


def all_nodes(model: ir.Model) -> Iterable[ir.Node]:
    """Every node, those in subgraphs included."""
    for graph in model.graphs():
        yield from graph


def name_nodes(model: ir.Model) -> None:
    """Give nodes without a name one, so that filters and reports can speak of them."""
    taken = {node.name for node in all_nodes(model) if node.name}
    for index, node in enumerate(all_nodes(model)):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.name = name


def names(graph: ir.Model) -> set[str]:
    """Names of all nodes."""
    return {node.name for node in all_nodes(graph) if node.name}


def follow_renames(graph: ir.Model, chosen: set[str]) -> set[str]:
    """A Gemm's name also means the MatMul that was made of it."""
    return chosen | {name for name in names(graph) if name.removesuffix("_MatMul") in chosen}


def matching(models: Iterable[ir.Model], patterns: Sequence[str] | None, setting: str) -> set[str]:
    """Names of the nodes that the patterns mean; a pattern that means none is an error."""
    if not patterns:
        return set()
    names = [node.name for model in models for node in all_nodes(model) if node.name]
    known = set(names)
    found: set[str] = set()
    for pattern in patterns:
        hits = {pattern} & known or {name for name in known if fnmatchcase(name, pattern)}
        if not hits:
            near = get_close_matches(pattern, names, 3, 0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else "Names of nodes are shown by tools such as Netron."
            raise PassError(f"{setting} names the node {pattern!r}, which the model does not have", hint)
        found |= hits
    return found


def weight_of(node: ir.Node, index: int = 1) -> ir.Value | None:
    """The constant floating-point weight that a node has as an input, if it is one."""
    if index >= len(node.inputs):
        return None
    value = node.inputs[index]
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    if value.is_graph_input():
        return None  # a default that a request may replace: an adapter's matrix
    return value if value.const_value.dtype in FLOATS else None


def readers_of_defaults(model: ir.Model) -> set[str]:
    """Names of nodes that read what a request may replace: nothing about it is constant."""
    return {
        node.name
        for node in all_nodes(model)
        if node.name and any(v is not None and v.is_initializer() and v.is_graph_input() for v in node.inputs)
    }


def read_float(value: ir.Value) -> np.ndarray:
    """A weight as float32, refused if it holds NaN or infinity."""
    assert value.const_value is not None
    array = value.const_value.numpy()
    finite(value, array)
    return array if array.dtype == np.float32 else array.astype(np.float32)


def finite(value: ir.Value, array: np.ndarray) -> None:
    """Refuse NaN and infinity, looked for in pieces so that no large mask is made."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        piece = flat[start : start + _CHUNK]
        piece = piece.astype(np.float32) if piece.dtype == ml_dtypes.bfloat16 else piece
        good = np.isfinite(piece)
        if not good.all():
            bad = int(start + np.argmin(good))
            raise PassError(
                f"the weight {value.name!r} holds {float(flat[bad])} at position {bad:,}: it cannot be quantised",
                "The training diverged or the file is damaged; go back to a checkpoint with finite weights.",
            )


def nothing_to_do(models: Iterable[ir.Model], ops: Iterable[str]) -> PassError:
    """The error for a model in which nothing was quantised, with the reason where it can be seen."""
    counts = Counter(node.op_type for model in models for node in all_nodes(model))
    already = {op: count for op, count in counts.items() if op in QUANTIZED_OPS}
    if already:
        listed = ", ".join(f"{count} {op}" for op, count in sorted(already.items()))
        return PassError(
            f"the model is quantised already: it has {listed}, and no floating-point weight is left to quantise",
            "Take the pass out, or let it start from the unquantised model.",
        )
    *others, last = sorted(ops)
    wanted = f"{', '.join(others)} or {last}" if others else last
    return PassError(
        f"nothing to quantise: no {wanted} with a constant floating-point weight is among the nodes allowed",
        "Look at nodes_to_exclude and the like; a model whose weights are inputs cannot be quantised.",
    )
