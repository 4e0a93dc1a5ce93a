"""onnxscript's fusions for onnxruntime."""

from __future__ import annotations

import logging
from typing import Any

import onnx_ir as ir
import onnxscript.optimizer
from onnxscript.rewriter.ort_fusions import optimize_for_ort

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_rewrite import rewrite
from olive_like.passes.base import Context
from olive_like.passes.onnx_graph.surgeons import _graph
from olive_like.passes.onnx_graph.surgeons._gemm import gemm_to_matmul_add

TOLERANCE = 1e-3  # fused kernels sum in another order, and approximate some functions


def fuse(model: OnnxModel, config: Any, context: Context) -> OnnxModel:
    """The pass of its own."""

    def change(graph: ir.Model) -> int:
        return report(fuse_graph(graph), context)

    return rewrite(model, config, context, change, tolerance=TOLERANCE)


def fuse_graph(graph: ir.Model) -> dict[str, int]:
    """Apply onnxscript's rules in place; how often each did something."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        gemm_to_matmul_add(graph)  # a Gemm takes two axes, and some rules drop the Reshape that gives it two
        onnxscript.optimizer.optimize(graph)  # patterns match only where shapes are known and constants folded
        _, counts = optimize_for_ort(graph)
    finally:
        logger.setLevel(level)
    _graph.drop_unused_weights(graph)
    if any(node.domain == _graph.CONTRIB for part in graph.graphs() for node in part):
        _graph.need_opset(graph, _graph.CONTRIB, 1)
    return {name: count for name, count in counts.items() if count}


def report(counts: dict[str, int], context: Context) -> int:
    """Say what was fused, how often."""
    if not counts:
        context.warn("nothing was fused: no pattern of these fusions is in the graph")
        return 0
    context.note("fused: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    for name, count in counts.items():
        context.metric(f"fused.{name}", count)
    return sum(counts.values())
