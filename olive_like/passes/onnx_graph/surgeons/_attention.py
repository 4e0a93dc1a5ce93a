"""Attention and position embeddings as onnxruntime's own operators have them."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from olive_like.errors import PassError
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons import attention as settings

# The same as one operator: tokens without padding, and where each would lie if images were padded to the longest.
_PACKED = """
<opset_import: ["" : %d, "com.microsoft" : 1], domain: "custom">
PackedAttention <num_heads, scale> (q, k, v, cu_seqlens) => (y)
{
  flat = Constant <value_ints = [0, -1]> ()
  line = Constant <value_ints = [-1]> ()
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  end = Constant <value_ints = [9223372036854775807]> ()
  scalar = Constant <value_ints : ints = []> ()
  qt = Transpose <perm = [0, 2, 1, 3]> (q)
  kt = Transpose <perm = [0, 2, 1, 3]> (k)
  vt = Transpose <perm = [0, 2, 1, 3]> (v)
  shape = Shape (qt)
  qs = Squeeze (qt, zero)
  ks = Squeeze (kt, zero)
  vs = Squeeze (vt, zero)
  qf = Reshape (qs, flat)
  kf = Reshape (ks, flat)
  vf = Reshape (vs, flat)
  bounds = Cast <to = 7> (cu_seqlens)
  starts = Slice (bounds, zero, line)
  ends = Slice (bounds, one, end)
  lengths = Sub (ends, starts)
  longest = ReduceMax <keepdims = 0> (lengths)
  start = Reshape (zero, scalar)
  step = Reshape (one, scalar)
  places = Range (start, longest, step)
  row = Unsqueeze (places, zero)
  column = Unsqueeze (lengths, one)
  real = Less (row, column)
  grid = Shape (real)
  listed = Reshape (real, line)
  unreal = Not (listed)
  token_at = NonZero (listed)
  padding_at = NonZero (unreal)
  in_order = Concat <axis = 1> (token_at, padding_at)
  narrow = Cast <to = 6> (in_order)
  offsets = Reshape (narrow, grid)
  sums = Cast <to = 6> (cu_seqlens)
  all = com.microsoft.PackedMultiHeadAttention <num_heads : int = @num_heads, scale : float = @scale>
    (qf, kf, vf, , offsets, sums)
  y = Reshape (all, shape)
}
"""

_CACHES = {"GroupQueryAttention": (7, 8), "RotaryEmbedding": (2, 3)}
_LENGTHS = {5: "past_seq_len", 6: "total_seq_len"}

# Attention within each of several images that lie one behind the other; `cu_seqlens` says where each begins.
_LOOP = """
<opset_import: ["" : %d, "com.microsoft" : 1], domain: "custom">
PackedAttention <num_heads, scale> (q, k, v, cu_seqlens) => (y)
{
  flat = Constant <value_ints = [0, 0, -1]> ()
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  scalar = Constant <value_ints : ints = []> ()
  qt = Transpose <perm = [0, 2, 1, 3]> (q)
  kt = Transpose <perm = [0, 2, 1, 3]> (k)
  vt = Transpose <perm = [0, 2, 1, 3]> (v)
  shape = Shape (qt)
  qf = Reshape (qt, flat)
  kf = Reshape (kt, flat)
  vf = Reshape (vt, flat)
  bounds = Cast <to = 7> (cu_seqlens)
  points = Size (bounds)
  single = Reshape (one, scalar)
  count = Sub (points, single)
  go = Constant <value = bool {1}> ()
  nothing = Slice (qf, zero, zero, one)
  all = Loop (count, go, nothing) <body = segment (int64 i, bool going, so_far) => (bool still, longer)
  {
    still = Identity (going)
    here = Reshape (i, one)
    next = Add (here, one)
    start = Gather <axis = 0> (bounds, here)
    end = Gather <axis = 0> (bounds, next)
    qi = Slice (qf, start, end, one)
    ki = Slice (kf, start, end, one)
    vi = Slice (vf, start, end, one)
    yi = com.microsoft.MultiHeadAttention <num_heads : int = @num_heads, scale : float = @scale> (qi, ki, vi)
    longer = Concat <axis = 1> (so_far, yi)
  }>
  y = Reshape (all, shape)
}
"""


def single_rope_cache(model: ir.Model, wanted: settings.RemoveRopeMultiCache) -> int:
    """Models for long texts choose between two caches by the sequence's length; keep one of them."""
    graph = model.graph
    chosen: dict[ir.Value, ir.Value] = {}
    branch_nodes: set[ir.Node] = set()
    for node in graph:
        for index in _CACHES.get(node.op_type, ()):
            value = node.inputs[index] if index < len(node.inputs) else None
            source = value.producer() if value is not None else None
            if value is None or source is None or source.op_type != "If":
                continue
            if value not in chosen:
                chosen[value] = _one_cache(graph, source, value, wanted.use_large_cache)
                branch_nodes.add(source)
            node.replace_input_with(index, chosen[value])
    for source in branch_nodes:
        condition = source.inputs[0]
        _graph.remove([source])
        while condition is not None and condition.producer() is not None:
            before = condition.producer()
            assert before is not None
            condition = before.inputs[0] if before.inputs else None
            if any(output.uses() or output.is_graph_output() for output in before.outputs):
                break
            _graph.remove([before])
    return len(chosen)


def _one_cache(graph: ir.Graph, source: ir.Node, value: ir.Value, large: bool) -> ir.Value:
    """The constant of one branch of an If; the larger cache is the one with more rows."""
    index = list(source.outputs).index(value)
    found = []
    for name in ("then_branch", "else_branch"):
        branch = source.attributes[name].value
        array = _graph.constant(branch.outputs[index])
        if array is None:
            raise PassError(f"the rotary cache {value.name!r} is no constant in the {name} of {source.name!r}")
        found.append(array)
    ordered = sorted(found, key=lambda array: array.shape[0])
    return _graph.add_weight(graph, _graph.fresh(graph, f"{value.name}_single"), ordered[-1 if large else 0])


def lengths_as_inputs(model: ir.Model, _: settings.AttentionMaskToSequenceLengths) -> int:
    """GroupQueryAttention takes lengths; graphs compute them from the mask, which need not be so."""
    graph = model.graph
    nodes = [node for node in graph if node.op_type == "GroupQueryAttention"]
    mask = next((value for value in graph.inputs if value.name == "attention_mask"), None)
    if not nodes or mask is None:
        return 0
    tokens = next((value for value in graph.inputs if value.name == "input_ids"), None)
    batch = tokens.shape[0] if tokens is not None and tokens.shape is not None and len(tokens.shape) else 1
    for index, name in _LENGTHS.items():
        shape = ir.Shape([batch, 1] if name == "past_seq_len" else [])
        value = ir.Value(name=name, type=ir.TensorType(ir.DataType.INT32), shape=shape)
        for node in nodes:
            node.replace_input_with(index, value)
        graph.inputs.insert(0, value)
    common.RemoveUnusedNodesPass()(model)
    if mask.uses():
        users = ", ".join(sorted({f"{use.node.op_type} {use.node.name!r}" for use in mask.uses()})[:3])
        raise PassError(
            f"the attention mask is also used by {users}",
            "If that is the choice of a rotary cache, put RemoveRopeMultiCache first.",
        )
    graph.inputs.remove(mask)
    return len(nodes)


def packed_attention_to_loop(model: ir.Model, _: settings.PackedAttentionToLoopMHA) -> int:
    """As attention on one image after the other."""
    return _defined(model, _LOOP)


def packed_attention_to_packed(model: ir.Model, _: settings.PackedAttentionToPackedMHA) -> int:
    """As one operator over all images."""
    return _defined(model, _PACKED)


def _defined(model: ir.Model, definition: str) -> int:
    """Put a definition in place of every PackedAttention."""
    nodes = [node for node in model.graph if _graph.is_op(node, "PackedAttention", "custom")]
    if not nodes:
        return 0
    version = model.opset_imports.get("", 20)
    function = ir.from_proto(onnx.parser.parse_function(definition % version))
    model.functions[function.identifier()] = function
    model.opset_imports.setdefault("custom", 1)
    _graph.need_opset(model, _graph.CONTRIB, 1)
    common.InlinePass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    return len(nodes)
