"""What onnxscript's rewrite rules keep between two graphs."""

from __future__ import annotations

import onnx_ir as ir
import onnxscript.optimizer


def forget_graphs() -> None:
    """Let the rules go of the graph that they saw last, with all its weights: they hold it until they see another.

    A rule that looks for two nodes at once takes notice of a graph that has two of the kind, here two Slices.
    """
    inputs = [
        ir.Value(name=name, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1]))
        for name in ("x", "start", "end", "axis")
    ]
    nodes = [ir.node("Slice", inputs), ir.node("Slice", [inputs[0], inputs[2], inputs[1], inputs[3]])]
    outputs = [node.outputs[0] for node in nodes]
    graph = ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": 20}, name="slices")
    onnxscript.optimizer.optimize(ir.Model(graph, ir_version=10))
