"""Small ONNX models made on the fly, and a way to run one pass on them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from olive_like.artifacts import Artifact, OnnxModel
from olive_like.passes import registry
from olive_like.passes.base import Context

HIDDEN, VOCABULARY = 64, 128


class Events(list):  # type: ignore[type-arg]
    """What a pass said."""

    def metric(self, name: str) -> float:
        return next(event["value"] for kind, event in reversed(self) if kind == "metric" and event["name"] == name)

    def texts(self, kind: str) -> str:
        return "\n".join(event["text"] for k, event in self if k == kind)


def run_pass(name: str, model: Artifact | list[Artifact], events: Events | None = None, **settings: Any) -> Any:
    """Run a pass beside its input, as the engine would."""
    first = model[0] if isinstance(model, list) else model
    here = first.path.parent if first.path.is_dir() else first.path.parent.parent
    number = sum(1 for _ in here.glob("out-*"))
    output, scratch = here / f"out-{number}-{name}", here / f"scratch-{number}-{name}"
    output.mkdir()
    scratch.mkdir()
    said = events if events is not None else Events()
    context = Context(output=output, scratch=scratch, emit=lambda kind, data: said.append((kind, dict(data))))
    cls = registry.load(name)
    return cls().apply(model if isinstance(model, list) else [model], cls.Config(**settings), context)


def random(*shape: int, seed: int = 0, scale: float = 0.2) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def save(path: Path, graph: onnx.GraphProto, opset: int = 20, **extra: Any) -> OnnxModel:
    """A checked model in a folder of its own."""
    path.mkdir(parents=True, exist_ok=True)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("custom", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(model, path / "model.onnx", **extra)
    return OnnxModel(path)


def graph(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
) -> onnx.GraphProto:
    """A graph from what it consists of."""
    return helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )


def text_model(
    path: Path, *, hidden: int = HIDDEN, opset: int = 20, classes: int = VOCABULARY, **extra: Any
) -> OnnxModel:
    """Tokens through an embedding and two layers to logits."""
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["embedded"], "embed_tokens/Gather"),
        node("MatMul", ["embedded", "w1"], ["h1"], "layer.0/MatMul"),
        node("Add", ["h1", "b1"], ["h2"], "layer.0/Add"),
        node("Relu", ["h2"], ["h3"], "layer.0/Relu"),
        node("MatMul", ["h3", "w2"], ["logits"], "lm_head/MatMul"),
    ]
    weights = {
        "table": random(VOCABULARY, hidden, seed=1),
        "w1": random(hidden, 4 * hidden, seed=2),
        "b1": random(4 * hidden, seed=3),
        "w2": random(4 * hidden, classes, seed=4),
    }
    ids = {"input_ids": (TensorProto.INT64, ["batch", "sequence"])}
    logits = {"logits": (TensorProto.FLOAT, ["batch", "sequence", classes])}
    return save(path, graph(nodes, weights, ids, logits), opset, **extra)


def simple(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: list[Any] | None = None,
    out: list[Any] | None = None,
    opset: int = 20,
) -> OnnxModel:
    """A model with one float input `x` and one float output `y`."""
    x, y = (TensorProto.FLOAT, shape or ["batch", HIDDEN]), (TensorProto.FLOAT, out or shape or ["batch", None])
    return save(path, graph(nodes, weights, {"x": x}, {"y": y}), opset)


def session_outputs(model: OnnxModel, **feeds: Any) -> list[np.ndarray]:
    return ort.InferenceSession(str(model.file), providers=["CPUExecutionProvider"]).run(None, feeds)


def tokens(batch: int = 2, length: int = 7) -> np.ndarray:
    return np.random.default_rng(9).integers(0, VOCABULARY, (batch, length))


def ops(model: OnnxModel) -> Counter[str]:
    """How often each operator is in the main graph."""
    return Counter(node.op_type for node in onnx.load(model.file, load_external_data=False).graph.node)


def relative(before: np.ndarray, after: np.ndarray) -> float:
    return float(np.abs(before - after).max() / np.abs(before).max())
