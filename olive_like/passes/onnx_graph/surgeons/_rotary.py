"""Rotary position embeddings in ONNX's own operators."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from olive_like.errors import PassError
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons import attention as settings

_DOMAIN = "olive_like.rotary"
_OPSET = 13  # of the operators below
_NOT_HERE = {"scale": 1.0, "is_packed_batching": 0}

# Pairs of numbers are turned by an angle that depends on the position. `wide` is [batch, tokens, heads, width].
_FUNCTION = """
<opset_import: ["" : {opset}], domain: "{domain}">
{name} (x, position, cos_cache, sin_cache) => (y)
{{
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  two = Constant <value_ints = [2]> ()
  last = Constant <value_ints = [-1]> ()
  end = Constant <value_ints = [9223372036854775807]> ()
  whole = Shape (x)
  cache = Shape (cos_cache)
  half = Gather <axis = 0> (cache, one)
  both = Add (half, half)
  {widen}
  size = Shape (wide)
  {positions}
  cos_rows = Gather <axis = 0> (cos_cache, at)
  sin_rows = Gather <axis = 0> (sin_cache, at)
  cos = Unsqueeze (cos_rows, two)
  sin = Unsqueeze (sin_rows, two)
  turned = Slice (wide, zero, both, last)
  kept = Slice (wide, both, end, last)
  {apart}
  ac = Mul (a, cos)
  bs = Mul (b, sin)
  bc = Mul (b, cos)
  as = Mul (a, sin)
  first = Sub (ac, bs)
  second = Add (bc, as)
  {together}
  all = Concat <axis = -1> (joined, kept)
  {narrow}
}}
"""
_WIDEN = {
    4: "wide = Transpose <perm = [0, 2, 1, 3]> (x)",
    3: "by_heads = Constant <value_ints = [0, 0, {heads}, -1]> ()\n  wide = Reshape (x, by_heads)",
    0: "front = Constant <value_ints = [0, 0, -1]> ()\n  by_width = Concat <axis = 0> (front, both)\n"
    "  wide = Reshape (x, by_width)",
}
_NARROW = {
    4: "y = Transpose <perm = [0, 2, 1, 3]> (all)",
    3: "y = Reshape (all, whole)",
}
_POSITIONS = {
    2: "at = Identity (position)",
    1: "tokens_at = Gather <axis = 0> (size, one)\n  shape = Constant <value_ints : ints = []> ()\n"
    "  tokens = Reshape (tokens_at, shape)\n  start = Reshape (zero, shape)\n  step = Reshape (one, shape)\n"
    "  steps = Range (start, tokens, step)\n  moved = Add (steps, position)\n  at = Unsqueeze (moved, zero)",
}
_HALVES = "a = Slice (turned, zero, half, last)\n  b = Slice (turned, half, end, last)"
_NEIGHBOURS = "a = Slice (turned, zero, end, last, two)\n  b = Slice (turned, one, end, last, two)"
_JOIN_HALVES = "joined = Concat <axis = -1> (first, second)"
_JOIN_NEIGHBOURS = (
    "first_of = Unsqueeze (first, last)\n  second_of = Unsqueeze (second, last)\n"
    "  pairs = Concat <axis = -1> (first_of, second_of)\n  flat = Constant <value_ints = [0, 0, 0, -1]> ()\n"
    "  joined = Reshape (pairs, flat)"
)


def decompose(model: ir.Model, _: settings.DecomposeRotaryEmbedding) -> int:
    """Each RotaryEmbedding of onnxruntime's becomes slices, products and sums."""
    nodes = [n for graph in model.graphs() for n in graph if _graph.is_op(n, "RotaryEmbedding", _graph.CONTRIB)]
    if not nodes:
        return 0
    opset = max(_OPSET, model.opset_imports.get("", _OPSET))
    _graph.need_opset(model, "", _OPSET)
    for node in nodes:
        name, text = _written(node, opset)
        identifier = (_DOMAIN, name, "")
        if identifier not in model.functions:
            model.functions[identifier] = ir.from_proto(onnx.parser.parse_function(text))
        node.domain, node.op_type = _DOMAIN, name
        node.attributes.clear()
    model.opset_imports[_DOMAIN] = 1
    common.InlinePass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    return len(nodes)


def _written(node: ir.Node, opset: int) -> tuple[str, str]:
    """The function for a node's settings, and its name."""
    for name, usual in _NOT_HERE.items():
        found = node.attributes.get(name)
        if found is not None and found.value != usual:
            raise PassError(f"{node.name!r} has {name}={found.value}, which cannot be taken apart")
    heads = node.attributes.get_int("num_heads", 0)
    pairs = bool(node.attributes.get_int("interleaved", 0))
    x, position = node.inputs[0], node.inputs[1]
    rank = len(x.shape) if x is not None and x.shape is not None else 3
    axes = len(position.shape) if position is not None and position.shape is not None else 2
    if heads == 0 and rank == 3 and node.attributes.get_int("rotary_embedding_dim", 0):
        raise PassError(f"{node.name!r} turns a part of each head and does not say how many heads there are")
    name = f"Rotary_{rank}_{axes}_{heads}_{'pairs' if pairs else 'halves'}"
    text = _FUNCTION.format(
        opset=opset,
        domain=_DOMAIN,
        name=name,
        widen=_WIDEN[rank if rank == 4 or heads else 0].format(heads=heads),
        positions=_POSITIONS[axes],
        apart=_NEIGHBOURS if pairs else _HALVES,
        together=_JOIN_NEIGHBOURS if pairs else _JOIN_HALVES,
        narrow=_NARROW[rank],
    )
    return name, text
