"""Decoders whose attention becomes GroupQueryAttention: the same tokens, whatever is padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from olive_like.artifacts import OnnxModel
from tests import tiny_models
from tests.convert.helpers import convert
from tests.onnx_graph.small import Events, ops, run_pass

pytestmark = pytest.mark.heavy

LAYERS, VOCABULARY = 2, 400
# batch, past, new tokens, how many of the first row's are padding
CASES = ((1, 0, 8, 0), (3, 0, 8, 3), (3, 7, 1, 0), (3, 7, 1, 3), (1, 7, 5, 2))


def exported(name: str, folder: Path) -> OnnxModel:
    model = getattr(tiny_models, f"tiny_{name}")(folder / "hf")
    return convert(model, folder / "onnx", verify="off")


def logits(model: OnnxModel, batch: int, past: int, new: int, padding: int) -> Any:
    """What the new tokens give, padded ones left out, behind a cache that the graph itself has filled."""
    from olive_like.passes._onnx_runtime import (
        Shape,
        cache_inputs,
        describe_graph,
        make_feeds,
        open_session,
        run_session,
    )

    path = model.path / "model.onnx"
    session, io = open_session(path), describe_graph(path)
    tokens = np.random.default_rng(0).integers(3, VOCABULARY, (batch, past + new))
    mask = np.ones_like(tokens)
    mask[0, :padding] = 0
    positions = np.maximum(mask.cumsum(-1) - 1, 0)
    cache: dict[str, np.ndarray] = {}
    outputs: dict[str, np.ndarray] = {}
    for start, end in ((0, past), (past, past + new)):
        if start < end:
            feeds = make_feeds(io, Shape(batch, end - start, start), past=cache)
            feeds |= {"input_ids": tokens[:, start:end], "attention_mask": mask[:, :end]}
            feeds["position_ids"] = positions[:, start:end]
            outputs = run_session(session, feeds)
            cache = cache_inputs(outputs)
    found = outputs["logits"].copy()
    found[0, : max(0, padding - past)] = 0
    return found


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3"])
def test_the_same_with_any_padding(name: str, tmp_path: Path) -> None:
    """Plain, with normalised queries and keys, and with sliding windows."""
    before, events = exported(name, tmp_path), Events()
    after = run_pass("OnnxScriptFusion", before, events)
    counted = ops(after)
    assert counted["GroupQueryAttention"] == events.metric("fused.group_query_attention") == LAYERS
    assert counted["RotaryEmbedding"] == 2 * LAYERS
    assert not counted["MultiHeadAttention"] + counted["Softmax"] + counted["Neg"]
    for case in CASES:
        np.testing.assert_allclose(logits(after, *case), logits(before, *case), atol=1e-5)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    return exported("llama", tmp_path_factory.mktemp("llama"))


def test_a_graph_like_the_builders(llama: OnnxModel) -> None:
    """No Transpose, Reshape or Expand is left in a layer; the mask says what is padding and no more."""
    after = run_pass("OnnxScriptFusion", llama)
    nodes = onnx.load(after.path / "model.onnx").graph.node
    kinds = [node.op_type for node in nodes]
    first, last = (index for index, kind in enumerate(kinds) if kind == "GroupQueryAttention")
    assert not {"Transpose", "Reshape", "Expand", "Concat"} & set(kinds[first + 1 : last])
    assert not {"LessOrEqual", "And", "GatherND"} & set(kinds)
    sums = [list(node.output) for node in nodes if node.op_type == "SkipSimplifiedLayerNormalization"]
    assert all(outputs[1:3] == ["", ""] for outputs in sums[:-1])  # no mean, no deviation
    assert len(sums[-1]) == 1
    assert after.attributes["io"] == llama.attributes["io"]


def test_any_number_of_tokens_on_request(llama: OnnxModel) -> None:
    after = run_pass("OnnxScriptFusion", llama, use_gqa=False)
    assert ops(after)["MultiHeadAttention"] == LAYERS
    assert not ops(after)["GroupQueryAttention"]
    case = (3, 7, 5, 3)
    np.testing.assert_allclose(logits(after, *case), logits(llama, *case), atol=1e-5)


def test_attention_counts_positions(llama: OnnxModel) -> None:
    """One product for queries, keys and values, and nothing between it and the attention."""
    events = Events()
    after = run_pass("OnnxScriptFusion", llama, events, positions="counted", verify="fail")
    assert events.metric("fused.positions_counted") == LAYERS
    assert ops(after)["MatMul"] == ops(llama)["MatMul"] - 2 * LAYERS - 4  # -4: the attention's own
    assert not ops(after)["RotaryEmbedding"]
    for case in CASES:
        np.testing.assert_allclose(logits(after, *case), logits(llama, *case), atol=1e-5)
    quantised = run_pass("OnnxBlockWiseRtnQuantization", after, events, block_size=32)
    kinds = ops(quantised)
    assert kinds["MatMulNBits"] == 5 * LAYERS + 1  # qkv, output, gate, up, down; the head
    assert not kinds["MatMul"]


def test_a_head_for_the_last_position_alone(llama: OnnxModel) -> None:
    from olive_like.passes._onnx_runtime import Decoder

    fused = run_pass("OnnxScriptFusion", llama, positions="counted", verify="off")
    after = run_pass("GraphSurgeries", fused, surgeries=[{"surgeon": "PruneLmHead"}], verify="fail")
    for case in ((1, 0, 8, 0), (3, 7, 1, 3), (1, 7, 5, 2)):
        np.testing.assert_allclose(logits(after, *case), logits(fused, *case)[:, -1:], atol=1e-5)
    prompt = [5, 17, 230, 41]
    assert Decoder(after).generate(prompt, 12) == Decoder(fused).generate(prompt, 12)


def test_products_that_are_one_already(tmp_path: Path) -> None:
    """Phi-3 has one matrix for queries, keys and values."""
    before = exported("phi3", tmp_path)
    after = run_pass("OnnxScriptFusion", before, positions="counted", verify="fail")
    nodes = onnx.load(after.path / "model.onnx").graph.node
    kinds = [node.op_type for node in nodes]
    first, last = (index for index, kind in enumerate(kinds) if kind == "GroupQueryAttention")
    assert not {"Slice", "Transpose", "Reshape"} & set(kinds[first + 1 : last])
    assert not nodes[first].input[1]
    for case in CASES:
        np.testing.assert_allclose(logits(after, *case), logits(before, *case), atol=1e-5)


def test_positions_stay_where_their_number_is_not_known(llama: OnnxModel, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.onnx.data"):
        if (llama.path / name).exists():
            (tmp_path / name).write_bytes((llama.path / name).read_bytes())
    events = Events()
    after = run_pass("OnnxScriptFusion", OnnxModel(tmp_path, {"file": "model.onnx"}), events, positions="counted")
    assert ops(after)["RotaryEmbedding"] == 2 * LAYERS
    assert "position_ids is read: no config.json" in events.texts("note")
    events = Events()
    run_pass(
        "OnnxScriptFusion", OnnxModel(tmp_path, {"file": "model.onnx"}), events, positions="counted", use_gqa=False
    )
    assert "it is not made here" in events.texts("note")


def test_both_passes_do_it_and_tell(llama: OnnxModel) -> None:
    events = Events()
    after = run_pass("OrtTransformersOptimization", llama, events, use_gqa=True)
    assert ops(after)["GroupQueryAttention"] == LAYERS
    assert "one new token at a time" in events.texts("note")
    assert events.metric("verify.max_abs_diff") < 1e-5
    quantised = run_pass("OnnxBlockWiseRtnQuantization", after, events, block_size=32, verify="fail")
    assert ops(quantised)["GroupQueryAttention"] == LAYERS
