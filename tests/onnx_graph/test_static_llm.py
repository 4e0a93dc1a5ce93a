"""Decoders of a fixed number of new tokens, whole and in parts, as onnxruntime-genai runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import helper

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import describe_io, load_proto
from tests.convert.test_model_builder import build, genai_tokens
from tests.onnx_graph.small import graph, random, run_pass, save
from tests.tiny_models import tiny_llama

pytest.importorskip("onnxruntime_genai")
pytestmark = pytest.mark.heavy

PROMPT, TOKENS, WINDOW = [7, 33, 81, 62, 9, 44, 12, 90, 101, 17, 5], 12, 4


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    """As recipes for NPUs have it: lengths are inputs, and no mask."""
    folder = tmp_path_factory.mktemp("static")
    marked = run_pass("CaptureSplitInfo", tiny_llama(folder / "hf"), num_splits=2, unique_embeds_lm_head_splits=True)
    built = build(marked, folder / "built", precision="fp32")
    return run_pass("GraphSurgeries", built, surgeries=[{"surgeon": "AttentionMaskToSequenceLengths"}])


def generated(folder: Path) -> list[int]:
    """What follows the prompt; the runtime counts what it fills a prompt's last window with as well."""
    return genai_tokens(folder, PROMPT, TOKENS + WINDOW)[:TOKENS]


def shapes(folder: Path, file: str) -> dict[str, list[int | str | None]]:
    return {value["name"]: value["shape"] for value in describe_io(load_proto(folder / file))["inputs"]}


def expected(decoder: OnnxModel) -> list[int]:
    """What the model says before its shapes are fixed; its folder still speaks of the mask."""
    folder = Path(str(decoder.path).replace("out-1-GraphSurgeries", "built"))
    return generated(folder)


def test_a_graph_for_prompts_and_one_for_tokens(decoder: OnnxModel) -> None:
    fixed = run_pass("StaticLLM", decoder, context_length=WINDOW, verify="fail")
    assert [entry["file"] for entry in fixed.attributes["components"]] == ["context.onnx", "iterator.onnx"]
    for file, tokens in (("context.onnx", WINDOW), ("iterator.onnx", 1)):
        found = shapes(fixed.path, file)
        assert found["input_ids"] == [1, tokens]
        assert found["past_seq_len"] == [1, 1]
        assert isinstance(found["past_key_values.0.key"][2], str)  # the cache may grow
    data = [path.name for path in fixed.path.glob("*.data")]
    assert data == ["model.onnx.data"]  # one file for both
    assert fixed.attributes["verified"]["max_diff_below"] <= 1e-4
    assert generated(fixed.path) == expected(decoder)


def test_one_token_needs_one_graph(decoder: OnnxModel) -> None:
    fixed = run_pass("StaticLLM", decoder, context_length=1)
    assert "components" not in fixed.attributes
    assert shapes(fixed.path, "model.onnx")["input_ids"] == [1, 1]


def test_parts_become_a_pipeline(decoder: OnnxModel) -> None:
    parts = run_pass("SplitModel", decoder)
    assert [part["name"] for part in parts.attributes["components"]] == [f"split_{i}" for i in range(4)]
    fixed = run_pass("StaticLLM", parts, context_length=WINDOW)
    stages = json.loads((fixed.path / "genai_config.json").read_text())["model"]["decoder"]["pipeline"][0]
    assert list(stages) == [
        "split_0_model", "split_1_context", "split_1_iterator", "split_2_context", "split_2_iterator", "split_3_model",
    ]  # fmt: skip
    assert generated(fixed.path) == expected(decoder)


def test_other_attention_is_refused(tmp_path: Path) -> None:
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    other = save(
        tmp_path / "model", graph([product], {"w": random(8, 8)}, {"x": (1, ["batch", 8])}, {"y": (1, ["batch", 8])})
    )
    with pytest.raises(PassError, match="no GroupQueryAttention"):
        run_pass("StaticLLM", other)
