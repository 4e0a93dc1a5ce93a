"""Fusions and quantisers on graphs as the exporters write them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from tests.convert.helpers import convert
from tests.onnx_graph.small import Events, ops, relative, run_pass, session_outputs
from tests.tiny_models import tiny_bert, tiny_gpt2, tiny_llama

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    folder = tmp_path_factory.mktemp("bert")
    return convert(tiny_bert(folder / "hf"), folder / "onnx")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    folder = tmp_path_factory.mktemp("llama")
    return convert(tiny_llama(folder / "hf"), folder / "onnx")


def padded_batch() -> dict[str, np.ndarray]:
    """Two texts of different lengths: a fusion that forgets the mask shows."""
    ids = np.random.default_rng(0).integers(5, 100, (2, 12))
    mask = np.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def test_bert_is_fused_whole(bert: OnnxModel) -> None:
    events = Events()
    after = run_pass("OrtTransformersOptimization", bert, events)
    assert after.attributes["fusions"]["Attention"] == 2
    assert events.metric("fused.Attention") == 2
    assert sum(ops(after).values()) < 0.3 * sum(ops(bert).values())
    batch = padded_batch()
    (before_logits,), (after_logits,) = session_outputs(bert, **batch), session_outputs(after, **batch)
    np.testing.assert_allclose(before_logits, after_logits, atol=1e-5)
    quantized = run_pass("OnnxDynamicQuantization", after)
    assert ops(quantized)["QAttention"] == 2
    assert relative(before_logits, session_outputs(quantized, **batch)[0]) < 0.1
    again = Events()
    run_pass("OrtTransformersOptimization", after, again)
    assert again.texts("note")


def test_a_fused_float16_graph_is_fused_again(bert: OnnxModel) -> None:
    """The casts at its ends have the names that new ones get."""
    once = run_pass("OrtTransformersOptimization", bert, float16=True)
    again = run_pass("OrtTransformersOptimization", once, model_type="unet", float16=True, opt_level=0)
    batch = padded_batch()
    np.testing.assert_allclose(session_outputs(bert, **batch)[0], session_outputs(again, **batch)[0], atol=2e-2)


def test_fusions_on_request(bert: OnnxModel) -> None:
    plain = run_pass("OrtTransformersOptimization", bert, optimization_options={"enable_attention": False})
    assert not ops(plain)["Attention"]
    half = run_pass("OrtTransformersOptimization", bert, float16=True, keep_io_types=False, input_int32=True)
    io = half.attributes["io"]
    assert io["outputs"][0]["dtype"] == "float16"
    assert {value["dtype"] for value in io["inputs"]} == {"int32"}
    only = run_pass("OrtTransformersOptimization", bert, only_onnxruntime=True, opt_level=2)
    assert sum(ops(only).values()) < sum(ops(bert).values())
    for settings, message in (
        ({"optimization_options": {"enable_everything": True}}, "'enable_everything', which there is not"),
        ({"model_type": "berd"}, "'berd' is not known"),
    ):
        with pytest.raises(PassError, match=message):
            run_pass("OrtTransformersOptimization", bert, **settings)
    events = Events()
    run_pass("OrtTransformersOptimization", bert, events, use_gqa=True)
    assert "no attention with a mask and a cache" in events.texts("warning")


def test_nothing_fused_is_said(tmp_path: Path) -> None:
    from tests.onnx_graph.small import text_model

    events = Events()
    run_pass("OrtTransformersOptimization", text_model(tmp_path / "in"), events)
    assert "taken to be bert" in events.texts("note")
    assert "nothing was fused" in events.texts("warning")


@pytest.mark.parametrize("name", ["OrtTransformersOptimization", "OnnxScriptFusion"])
def test_decoders_are_fused(llama: OnnxModel, name: str) -> None:
    events = Events()
    after = run_pass(name, llama, events)
    assert events.metric("fused.rotary_embedding") == 4
    assert events.metric("fused.sdpa") == 2
    assert events.metric("verify.max_abs_diff") < 1e-4
    assert sum(ops(after).values()) < sum(ops(llama).values())


def test_older_exporters_decoders(tmp_path: Path) -> None:
    model, events = convert(tiny_gpt2(tmp_path / "hf"), tmp_path / "onnx"), Events()
    run_pass("OrtTransformersOptimization", model, events)
    assert events.metric("fused.sdpa") == 2
    assert events.metric("verify.max_abs_diff") < 1e-4
    quantized = run_pass("OnnxBlockWiseRtnQuantization", model, block_size=32)
    report = json.loads((quantized.path / "quantization.json").read_text())
    assert len({entry["name"] for entry in report["weights"]}) == len(report["weights"])  # the tied weight once


DECODER_CASES: list[tuple[str, dict[str, Any], float]] = [
    ("OnnxBlockWiseRtnQuantization", {"block_size": 32}, 0.35),
    ("OnnxGptq", {"block_size": 32, "calibration_samples": 8}, 0.35),
    ("OnnxStaticQuantization", {"calibration_samples": 8}, 0.35),
    ("OnnxDynamicQuantization", {}, 0.1),
]


@pytest.mark.parametrize(("name", "settings", "bound"), DECODER_CASES)
def test_decoder_with_cache(llama: OnnxModel, name: str, settings: dict[str, Any], bound: float) -> None:
    """Prefill and decode, the cache included, come through every kind of quantiser."""
    events = Events()
    after = run_pass(name, llama, events, **settings)
    assert events.metric("verify.max_rel_diff") < bound
    assert events.metric("size_ratio") < 0.6
    if "calibration_samples" in settings:
        assert "text that the model itself made" in events.texts("note")
        assert events.metric("calibration_examples") == 16  # each in a step without and one with a cache
    assert (after.path / "tokenizer.json").exists()
    speeds = [events.metric(f"tokens_per_second_{when}") for when in ("before", "after")]
    assert all(speed > 0 for speed in speeds)
    said = re.search(r"writes ([\d.]+) tokens/s, ([\d.]+) before", events.texts("note"))
    assert said is not None
    assert [float(number) for number in reversed(said.groups())] == pytest.approx(speeds, rel=1e-2)


def test_speed_is_no_part_of_the_artifact(llama: OnnxModel, bert: OnnxModel) -> None:
    """What differs from run to run is told, not written; a model that writes no text has no such speed."""
    silent, told, other = Events(), Events(), Events()
    quiet = run_pass("OnnxBlockWiseRtnQuantization", llama, silent, measure_speed=False)
    measured = run_pass("OnnxBlockWiseRtnQuantization", llama, told, measure_speed=True)
    run_pass("OnnxBlockWiseRtnQuantization", bert, other, measure_speed=True)
    assert "tokens/s" in told.texts("note")
    assert "tokens" not in silent.texts("note") + other.texts("note")
    assert quiet.attributes == measured.attributes
    written = [{p.name: p.read_bytes() for p in made.path.iterdir()} for made in (quiet, measured)]
    assert written[0] == written[1]


def test_calibration_text(llama: OnnxModel, tmp_path: Path) -> None:
    """Text of the user's own is tokenised with the tokenizer beside the graph."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"text": f"User: how much is two plus {n}?"}) for n in range(6)))
    events = Events()
    run_pass("OnnxGptq", llama, events, block_size=32, data_config={"source": str(rows)}, calibration_samples=4)
    assert events.metric("calibration_examples") == 8
    assert "the model itself made" not in events.texts("note")


def test_classifier_on_labelled_text(bert: OnnxModel) -> None:
    rows = [{"text": "a great film", "label": 1}, {"text": "a dull , boring film", "label": 0}] * 4
    events = Events()
    after = run_pass("OnnxStaticQuantization", bert, events, data_config={"rows": rows})
    assert events.metric("calibration_examples") == 8
    batch = padded_batch()
    assert relative(session_outputs(bert, **batch)[0], session_outputs(after, **batch)[0]) < 0.3


def test_reference_check(bert: OnnxModel, llama: OnnxModel) -> None:
    events = Events()
    source = str(bert.path.parent / "hf")
    after = run_pass("OnnxDiscrepancyCheck", bert, events, reference_model_path=source, max_mae=1e-4)
    assert events.metric("discrepancy.mae") < 1e-5
    assert (after.path / "discrepancy.json").exists()
    text = Events()
    run_pass(
        "OnnxDiscrepancyCheck",
        llama,
        text,
        reference_model_path=str(llama.path.parent / "hf"),
        generate_max_new_tokens=8,
        min_longest_common_tokens=8,
    )
    assert text.metric("discrepancy.common_tokens") == 8
    quantized = run_pass("OnnxBlockWiseRtnQuantization", bert, block_size=32)
    with pytest.raises(PassError, match="mae is"):
        run_pass("OnnxDiscrepancyCheck", quantized, reference_model_path=source, max_mae=1e-7)
    with pytest.raises(PassError, match="does not generate text"):
        run_pass("OnnxDiscrepancyCheck", bert, reference_model_path=source, min_longest_common_tokens=1)
