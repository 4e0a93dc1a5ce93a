"""onnxscript's fusions for onnxruntime."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_rewrite import rewrite
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph._counted_positions import count_positions
from olive_like.passes.onnx_graph._grouped_attention import group_queries
from olive_like.passes.onnx_graph._ort_fusions import fuse_for_ort
from olive_like.passes.onnx_graph._rotary import fuse_rotary
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons._gemm import gemm_to_matmul_add
from olive_like.passes.tasks import read_config

_NO_LONGEST = "no config.json beside the graph says how many positions there can be"
TOLERANCE = 1e-3  # fused kernels sum in another order, and approximate some functions


def fuse(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """The pass of its own."""

    grouped = wants_groups(config, context)
    counted = config.positions == "counted"
    longest = longest_of(model) if counted and grouped else None

    def change(graph: ir.Model) -> int:
        counts = fuse_graph(graph, grouped, longest)
        made = counts.get("group_query_attention", 0)
        if counted and (not made or made > counts.get("positions_counted", 0)):
            context.note(f"position_ids is read: {_why_given(grouped, made, longest)}")
        return report(counts, context)

    return rewrite(model, config, context, change, tolerance=TOLERANCE)


def _why_given(grouped: bool, made: int, longest: int | None) -> str:
    """Why attention does not count positions itself."""
    if not grouped:
        return "only GroupQueryAttention can, and it is not made here (`use_gqa: true` makes it)"
    if not made:
        return "only GroupQueryAttention can, and no attention of this graph becomes that"
    return "attention cannot turn this graph's queries and keys itself" if longest else _NO_LONGEST


def wants_groups(config: Any, context: Context) -> bool:
    """Whether attention is to become GroupQueryAttention, which CUDA has in half precision only."""
    return context.device == "cpu" if config.use_gqa is None else bool(config.use_gqa)


def longest_of(model: OnnxModel) -> int | None:
    """How many positions a model is made for, by the config beside it."""
    known = read_config(model.path) if (model.path / "config.json").is_file() else {}
    found = known.get("max_position_embeddings")
    return found if isinstance(found, int) else None


def fuse_graph(graph: ir.Model, use_gqa: bool, longest: int | None = None) -> dict[str, int]:
    """Apply onnxscript's rules and ours in place; how often each did something.

    With `longest`, attention counts positions itself, so many at most.
    """
    gemm_to_matmul_add(graph)  # a Gemm takes two axes, and some rules drop the Reshape that gives it two
    counts = fuse_for_ort(graph)
    counts["rotary_embedding"] = fuse_rotary(graph)
    if use_gqa:
        counts["group_query_attention"] = group_queries(graph)
        counts["positions_counted"] = count_positions(graph, longest) if longest else 0
        counts["sdpa_via_mha"] = max(0, counts.get("sdpa_via_mha", 0) - counts["group_query_attention"])
    _unfold_heads(graph)
    _drop_unread_sums(graph)
    _graph.drop_unused_weights(graph)
    if any(node.domain == _graph.CONTRIB for part in graph.graphs() for node in part):
        _graph.need_opset(graph, _graph.CONTRIB, 1)
    return {name: count for name, count in counts.items() if count}


def _unfold_heads(graph: ir.Model) -> None:
    """A weight that a product takes transposed gets its Transpose back: runtimes fold it, and quantisers know it.

    It is the embedding, most often, which makes the logits too.
    """
    for node in list(graph.graph):
        if not _graph.is_op(node, "FusedMatMul", _graph.CONTRIB) or node.inputs[1] is None:
            continue
        weight = node.inputs[1]
        if weight.const_value is None or weight.shape is None or len(weight.shape) != 2 or not _only_turns(node):
            continue
        turned = ir.node("Transpose", [weight], {"perm": (1, 0)}, name=_graph.fresh(graph.graph, f"{node.name}_weight"))
        turned.outputs[0].name = f"{turned.name}_output"
        _graph.replace([node], [turned, ir.node("MatMul", [node.inputs[0], turned.outputs[0]], name=node.name)])


def _drop_unread_sums(graph: ir.Model) -> None:
    """Normalisations give a mean and a deviation on request, which costs time: nobody here reads them."""
    for node in graph.graph:
        if _graph.is_op(node, "SkipSimplifiedLayerNormalization", _graph.CONTRIB):
            read = [index for index, value in enumerate(node.outputs) if value.uses() or value.is_graph_output()]
            node.resize_outputs(max(read, default=0) + 1)
            for index, value in enumerate(node.outputs):
                if index and index not in read:
                    value.name = ""


def _only_turns(node: ir.Node) -> bool:
    """Whether a product does no more than to transpose its second factor."""
    others = {name: attribute.value for name, attribute in node.attributes.items() if name != "transB"}
    return bool(node.attributes.get_int("transB", 0)) and all(
        value == (1 if name == "alpha" else 0) for name, value in others.items()
    )


def report(counts: dict[str, int], context: Context) -> int:
    """Say what was fused, how often."""
    if not counts:
        context.warn("nothing was fused: no pattern of these fusions is in the graph")
        return 0
    context.note("fused: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    if counts.get("group_query_attention"):
        context.note(
            "GroupQueryAttention: behind a cache, a batch of several rows takes one new token at a time "
            "(`use_gqa: false` keeps attention that takes any number)"
        )
    for name, count in counts.items():
        context.metric(f"fused.{name}", count)
    return sum(counts.values())
