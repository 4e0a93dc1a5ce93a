"""What onnxscript's rewrite rules keep between two graphs."""

from __future__ import annotations

import onnx_ir as ir
import onnxscript.optimizer


def forget_graphs() -> None:
    """Let the rules go of the graph that they saw last, with all its weights: they hold it until they see another."""
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1]))
    node = ir.node("Relu", [x])
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 20}, name="empty")
    onnxscript.optimizer.optimize(ir.Model(graph, ir_version=10))
