"""Rotary embeddings in plain operators, and attention over several images as one operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.utils import Extractor

from olive_like.errors import PassError
from tests.onnx_graph.small import graph, ops, random, run_pass, save, session_outputs

pytestmark = pytest.mark.heavy

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
HEADS, WIDTH, TOKENS, LONGEST = 2, 16, 5, 32


def caches(turned: int) -> dict[str, np.ndarray]:
    angles = np.outer(np.arange(LONGEST), 1 / 10000 ** (np.arange(turned // 2) / (turned / 2)))
    return {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize(
    ("shape", "position", "turned", "settings"),
    [
        ([2, TOKENS, HEADS * WIDTH], [2, TOKENS], WIDTH, {}),
        ([2, TOKENS, HEADS * WIDTH], [1], WIDTH, {}),
        ([2, TOKENS, HEADS * WIDTH], [2, TOKENS], 8, {"num_heads": HEADS, "rotary_embedding_dim": 8}),
        ([2, HEADS, TOKENS, WIDTH], [2, TOKENS], WIDTH, {}),
        ([2, HEADS, TOKENS, WIDTH], [1], 8, {"num_heads": HEADS, "rotary_embedding_dim": 8}),
    ],
)
def test_rotary_in_plain_operators(
    tmp_path: Path, interleaved: int, shape: list[int], position: list[int], turned: int, settings: dict[str, int]
) -> None:
    turn = helper.make_node(
        "RotaryEmbedding", ["x", "at", "cos", "sin"], ["y"], "turn", domain="com.microsoft",
        interleaved=interleaved, **settings,
    )  # fmt: skip
    inputs: dict[str, Any] = {"x": (FLOAT, shape), "at": (INT64, position)}
    model = save(tmp_path / "in", graph([turn], caches(turned), inputs, {"y": (FLOAT, shape)}))
    after = run_pass("GraphSurgeries", model, surgeries=[{"surgeon": "DecomposeRotaryEmbedding"}])
    assert not ops(after)["RotaryEmbedding"]
    assert {node.domain for node in onnx.load(after.file).graph.node} == {""}
    given = {"x": random(*shape, scale=1.0), "at": np.array([3])}
    if len(position) == 2:
        given["at"] = np.stack([np.arange(TOKENS), np.arange(TOKENS) + 7])
    (expected,), (got,) = session_outputs(model, **given), session_outputs(after, **given)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_rotary_that_cannot_be_told(tmp_path: Path) -> None:
    turn = helper.make_node(
        "RotaryEmbedding", ["x", "at", "cos", "sin"], ["y"], "turn", domain="com.microsoft", rotary_embedding_dim=8
    )
    inputs: dict[str, Any] = {"x": (FLOAT, [1, TOKENS, 32]), "at": (INT64, [1, TOKENS])}
    model = save(tmp_path / "in", graph([turn], caches(8), inputs, {"y": (FLOAT, [1, TOKENS, 32])}))
    with pytest.raises(PassError, match="does not say how many heads"):
        run_pass("GraphSurgeries", model, surgeries=[{"surgeon": "DecomposeRotaryEmbedding"}])


def test_packed_attention_as_one_operator(tmp_path: Path) -> None:
    packed = helper.make_node(
        "PackedAttention", ["q", "k", "v", "cu"], ["y"], "a", domain="custom", num_heads=2, scale=0.25
    )
    inputs: dict[str, Any] = {name: (FLOAT, [1, 2, "length", 8]) for name in "qkv"}
    inputs["cu"] = (TensorProto.INT32, ["images"])
    model = save(tmp_path / "in", graph([packed], {}, inputs, {"y": (FLOAT, [1, "length", 2, 8])}))
    after = run_pass("GraphSurgeries", model, surgeries=[{"surgeon": "PackedAttentionToPackedMHA"}])
    proto = onnx.load(after.file)
    node = next(node for node in proto.graph.node if node.op_type == "PackedMultiHeadAttention")
    assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} == {"num_heads": 2, "scale": 0.25}
    # The operator itself runs on GPUs; what it is given is computed here.
    for name in (node.input[0], node.input[4], node.input[5]):
        proto.graph.value_info.append(helper.make_empty_tensor_value_info(name))
    given = Extractor(proto).extract_model(["q", "cu"], [node.input[0], node.input[4], node.input[5]])
    for value, kind in zip(given.graph.output, (FLOAT, TensorProto.INT32, TensorProto.INT32), strict=True):
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, None))
    part = save(tmp_path / "part", given.graph)
    q, bounds = random(1, 2, 6, 8), np.array([0, 3, 4, 6], np.int32)
    tokens, offsets, sums = session_outputs(part, q=q, cu=bounds)
    np.testing.assert_array_equal(tokens, q[0].transpose(1, 0, 2).reshape(6, 16))
    np.testing.assert_array_equal(offsets, [[0, 1, 2], [3, 6, 7], [4, 5, 8]])
    np.testing.assert_array_equal(sums, bounds)
