"""The exported graph beside PyTorch: what is loaded anew, and what float64 excuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from tests.convert.helpers import Events

pytestmark = pytest.mark.heavy

WIDTH = 8


def product(seed: int = 0) -> tuple[Any, list[Any]]:
    """A model of one product, and its one part."""
    import torch

    from olive_like.passes.convert._parts import Flat, Part

    class Module(Flat):
        def forward(self, tensors: list[torch.Tensor]) -> tuple[torch.Tensor]:
            return (self.inner(tensors[0]),)

    torch.manual_seed(seed)
    inner = torch.nn.Linear(WIDTH, WIDTH)
    x = torch.randn(3, WIDTH)
    part = Part("product", "model.onnx", Module(inner), {"x": x}, ["y"], {}, lambda: [{"x": x}, {"x": 2 * x}])
    return inner, [part]


def graph_of(inner: Any, folder: Path, error: float = 0.0) -> OnnxModel:
    """The same product in ONNX, its weight off by an error."""
    folder.mkdir()
    weights = {"w": inner.weight.detach().numpy().T + np.float32(error), "b": inner.bias.detach().numpy()}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH]) for name in "xy")
    initializers = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "product", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    return OnnxModel(folder, {"file": "model.onnx", "dtype": "float32"})


CONFIG = SimpleNamespace(verify="fail", verify_tolerance=None, verify_tokens=0, dynamic=True)


def test_the_model_is_loaded_anew_only_for_a_doubt(tmp_path: Path) -> None:
    from olive_like.passes.convert._check_export import verify_export

    loads: list[int] = []

    def again() -> tuple[Any, list[Any]]:
        loads.append(1)
        return product()

    inner, parts = product()
    right, wrong = graph_of(inner, tmp_path / "right"), graph_of(inner, tmp_path / "wrong", 0.01)
    context = Context(tmp_path, tmp_path)
    assert verify_export(right, parts, inner, CONFIG, context, again)
    assert not loads
    assert all(parameter.is_meta for parameter in inner.parameters())
    inner, parts = product()
    with pytest.raises(PassError, match="the output y differs"):
        verify_export(wrong, parts, inner, CONFIG, context, again)
    assert loads == [1]
    inner, parts = product()
    with pytest.raises(PassError, match="the output y differs"):
        verify_export(wrong, parts, inner, CONFIG, context)
    assert inner.weight.dtype.itemsize == 4


def test_float64_excuses_a_graph_that_is_nearer_to_it(tmp_path: Path) -> None:
    import torch

    from olive_like.passes.convert._check_export import _Answer, _compared, _excuse, as_arrays
    from olive_like.passes.convert._parts import reference

    class Rounding(torch.nn.Linear):
        """Off by an error in float32, exact in float64."""

        error = 0.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            return y + self.error if y.dtype == torch.float32 else y

    inner, parts = product()
    inputs = parts[0].example
    exact = as_arrays(reference(parts[0], inputs))
    parts[0].module.inner = own = Rounding(WIDTH, WIDTH)
    own.load_state_dict(inner.state_dict())
    for graph, own.error, excused in ((0.0, 0.01, True), (0.01, 0.0, False)):
        expected, got = as_arrays(reference(parts[0], inputs)), {"y": exact["y"] + np.float32(graph)}
        answer = _Answer(0, inputs, expected, got, _compared(expected, got))
        events = Events()
        context = Context(tmp_path, tmp_path, emit=lambda kind, data, said=events: said.append((kind, dict(data))))
        _excuse([answer], own, parts, context)
        assert (answer.found.scaled == 0) is excused
        assert "from its float64" in events.texts("note")[0]
        other, others = product(seed=1)
        answer.found.scaled = 0.5
        _excuse([answer], other, others, context)
        assert answer.found.scaled == 0.5


def test_rewrite_rules_let_a_graph_go() -> None:
    """The memory of a model is free only when onnxscript's rules, which are there for good, have seen another graph."""
    import gc
    import weakref

    import onnx_ir as ir

    from olive_like.passes._simplify import simplify

    inputs = [ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([9, 9])) for name in "xy"]
    turned = [ir.node("Transpose", [value], {"perm": (0, 1)}) for value in inputs]
    nodes = [*turned, ir.node("MatMul", [node.outputs[0] for node in turned])]
    graph = ir.Graph(inputs, nodes[2].outputs, nodes=nodes, opset_imports={"": 20}, name="turned")
    simplify(ir.Model(graph, ir_version=10))
    assert [node.op_type for node in graph] == ["MatMul"]
    seen = weakref.ref(graph)
    del graph, nodes, turned, inputs
    gc.collect()
    assert seen() is None
