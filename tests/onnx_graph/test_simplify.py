"""Constants folded and idle nodes dropped, as onnxscript does it, in time that grows with the graph."""

from __future__ import annotations

import time

import numpy as np
import onnx_ir as ir
import onnxscript.optimizer
import torch

from olive_like.passes._simplify import simplify


class Block(torch.nn.Module):
    """Idle steps, constants, and shapes that are known only at run time."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        y = (self.inner(x) * 1 + 0).reshape(batch * length, 8).reshape(batch, length, 2, 4)
        y = y.transpose(1, 2).to(torch.float64).to(torch.float32).transpose(1, 2)
        mask = torch.arange(length)[None, :, None, None] < torch.tensor(2) + 1
        return torch.where(mask, y.expand(batch, length, 2, 4), torch.zeros(())).relu().clamp(0, 6)


def exported() -> ir.Model:
    shapes = {"x": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}}
    program = torch.onnx.export(
        Block().eval(), (torch.zeros(2, 3, 8),), dynamo=True, dynamic_shapes=shapes, optimize=False, verbose=False
    )
    assert program is not None
    return program.model


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def test_the_graph_is_the_one_that_onnxscript_makes() -> None:
    torch.manual_seed(0)
    ours, theirs = exported(), exported()
    before = ops(ours)
    simplify(ours)
    onnxscript.optimizer.optimize(theirs)
    assert ops(ours) == ops(theirs)
    assert len(ops(ours)) < len(before) * 0.7


def chain(length: int) -> ir.Model:
    """Additions of weights, one after the other: nothing to do for any rule."""
    first = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([2]))
    weight = ir.Value(name="w", const_value=ir.tensor(np.array([1, 2], np.float32)), shape=ir.Shape([2]))
    weight.type = ir.TensorType(ir.DataType.FLOAT)
    nodes, value = [], first
    for _ in range(length):
        nodes.append(ir.node("Add", [value, weight]))
        value = nodes[-1].outputs[0]
    graph = ir.Graph([first], [value], nodes=nodes, initializers=[weight], opset_imports={"": 20}, name="chain")
    return ir.Model(graph, ir_version=10)


def test_twice_the_graph_takes_about_twice_the_time() -> None:
    def seconds(length: int) -> float:
        model = chain(length)
        started = time.process_time()
        simplify(model)
        assert len(ops(model)) == length
        return time.process_time() - started

    seconds(10)
    short, long = (min(seconds(length) for _ in range(2)) for length in (600, 2400))
    assert long / short < 6  # 4 if it grows with the graph, towards 16 if with the square
