"""OnnxConversion on tiny models: what is written, and that it is the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.convert.onnx_conversion import OnnxConversion
from olive_like.passes.convert.optimum_conversion import OptimumConversion
from tests import tiny_models
from tests.convert.helpers import Events, convert, tiny_adapter

pytestmark = pytest.mark.heavy


def test_a_language_model_with_its_cache(tmp_path: Path) -> None:
    events = Events()
    result = convert(tiny_models.tiny_llama(tmp_path / "in"), tmp_path / "out", events, verify_tokens=32)
    names = [value["name"] for value in result.attributes["io"]["inputs"]]
    assert names == [
        "input_ids", "attention_mask", "position_ids",
        "past_key_values.0.key", "past_key_values.0.value", "past_key_values.1.key", "past_key_values.1.value",
    ]  # fmt: skip
    assert result.attributes["kv_cache"]["layers"] == 2
    assert result.attributes["verified"]["greedy_tokens"] == 1.0
    assert events.metric("verify.max_abs_diff") < 1e-5
    files = {path.name for path in result.path.iterdir()}
    assert files == {
        "model.onnx", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja",
    }  # fmt: skip


def test_nothing_of_this_machine_is_in_the_graph(tmp_path: Path) -> None:
    result = convert(tiny_models.tiny_llama(tmp_path / "in"), tmp_path / "out", verify="off")
    raw = result.file.read_bytes()
    assert b"site-packages" not in raw
    assert str(tmp_path).encode() not in raw
    assert b"/model/layers.1/self_attn/q_proj/MatMul" in raw
    assert "model.layers.1.self_attn.q_proj.weight" in {t.name for t in onnx.load(result.file).graph.initializer}


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = tiny_models.tiny_vit(tmp_path / "in")
    first, second = (convert(model, tmp_path / name, verify="off").file.read_bytes() for name in ("one", "two"))
    assert first == second


@pytest.mark.parametrize("dynamo", [None, True])
def test_a_text_encoder_by_either_exporter(tmp_path: Path, dynamo: bool | None) -> None:
    events = Events()
    result = convert(tiny_models.tiny_bert(tmp_path / "in"), tmp_path / "out", events, use_dynamo_exporter=dynamo)
    assert result.attributes["io"]["inputs"][0]["shape"] == ["batch_size", "sequence_length"]
    assert result.attributes["io"]["outputs"] == [{"name": "logits", "dtype": "float", "shape": ["batch_size", 2]}]
    assert events.metric("verify.max_abs_diff") < 1e-5


def test_a_bare_encoder_gives_its_hidden_states(tmp_path: Path) -> None:
    result = convert(tiny_models.tiny_bert(tmp_path / "in", labels=None), tmp_path / "out")
    outputs = {value["name"]: value["shape"] for value in result.attributes["io"]["outputs"]}
    assert outputs["last_hidden_state"] == ["batch_size", "sequence_length", 64]


@pytest.mark.parametrize(("dtype", "onnx_type"), [("float16", 10), ("bfloat16", 16)])
def test_other_types(tmp_path: Path, dtype: str, onnx_type: int) -> None:
    events = Events()
    result = convert(tiny_models.tiny_bert(tmp_path / "in"), tmp_path / "out", events, torch_dtype=dtype)
    types = {tensor.data_type for tensor in onnx.load(result.file).graph.initializer if np.prod(tensor.dims) > 64}
    assert types == {onnx_type}
    assert bool(events.texts("note")) == (dtype == "bfloat16")


def test_fixed_shapes(tmp_path: Path) -> None:
    model = tiny_models.tiny_bert(tmp_path / "in")
    result = convert(model, tmp_path / "out", dynamic=False, fixed_sequence_length=16)
    assert {tuple(value["shape"]) for value in result.attributes["io"]["inputs"]} == {(1, 16)}


def test_external_data_on_request(tmp_path: Path) -> None:
    model = tiny_models.tiny_llama(tmp_path / "in")
    settings = {"save_as_external_data": True, "external_data_name": "weights.pb"}
    result = convert(model, tmp_path / "out", **settings)
    assert (result.path / "weights.pb").stat().st_size > 10 * result.file.stat().st_size / 11
    assert json.loads((result.path / "config.json").read_text())["model_type"] == "llama"


def test_an_old_opset_is_left_to_torchscript(tmp_path: Path) -> None:
    result = convert(tiny_models.tiny_llama(tmp_path / "in"), tmp_path / "out", target_opset=17)
    assert next(o.version for o in onnx.load(result.file).opset_import if o.domain == "") == 17


def test_torchscript_beyond_its_newest_opset_is_a_problem() -> None:
    assert OnnxConversion.problems(OnnxConversion.Config(use_dynamo_exporter=False, target_opset=21), [])


def test_optimum_conversion_takes_parts(tmp_path: Path) -> None:
    model = tiny_models.tiny_t5(tmp_path / "in")
    (tmp_path / "out").mkdir()
    config = OptimumConversion.Config(target_opset=18, components=["decoder"])
    context = Context(output=tmp_path / "out", scratch=tmp_path / "scratch")
    result = OptimumConversion().apply([model], config, context)
    assert [path.name for path in result.path.glob("*.onnx")] == ["decoder_model.onnx"]
    with pytest.raises(PassError, match="has no part vision"):
        OptimumConversion().apply([model], OptimumConversion.Config(components=["vision"]), context)
    assert OptimumConversion.problems(OptimumConversion.Config(extra_args={"monolith": True}), [])


def test_an_adapter_merged_or_kept_apart(tmp_path: Path) -> None:
    adapter = tiny_adapter(tiny_models.tiny_llama(tmp_path / "in"), tmp_path / "adapter")
    merged = convert(adapter, tmp_path / "merged", verify="fail")
    apart = convert(adapter, tmp_path / "apart", verify="fail", merge_adapter_weights=False)
    names = [{t.name for t in onnx.load(result.file).graph.initializer} for result in (merged, apart)]
    assert not any("lora" in name for name in names[0])
    assert sum("lora" in name for name in names[1]) == 8
    assert merged.attributes["verified"]["greedy_tokens"] == apart.attributes["verified"]["greedy_tokens"] == 1.0


def test_memory_is_told_from_the_headers(tmp_path: Path) -> None:
    model = tiny_models.tiny_llama(tmp_path / "in")
    full = OnnxConversion.memory_estimate([model], OnnxConversion.Config())
    half = OnnxConversion.memory_estimate([model], OnnxConversion.Config(torch_dtype="float16"))
    assert full is not None
    assert half is not None
    assert full - half > 100_000
    assert OnnxConversion.memory_estimate([OnnxModel(tmp_path)], OnnxConversion.Config()) is None


def test_an_opset_that_lacks_an_op_is_one_line_that_says_which_has_it(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="scaled_dot_product_attention") as caught:
        convert(tiny_models.tiny_llama(tmp_path / "in"), tmp_path / "out", target_opset=11)
    assert "target_opset: 14" in caught.value.hint
    assert "\n" not in caught.value.message


def test_networks_of_an_adapter_go_along(tmp_path: Path) -> None:
    """They cannot be merged, and need not be."""
    from olive_like.artifacts import Adapter
    from olive_like.passes._models import load_model
    from olive_like.passes.convert._conversion import _load
    from olive_like.passes.finetune import _bottleneck

    base = tiny_models.tiny_llama(tmp_path / "in")
    model = load_model(base)
    _bottleneck.add(model, 4, "gelu", _bottleneck.default_targets(model), [])
    (tmp_path / "adapter").mkdir()
    _bottleneck.save(model, tmp_path / "adapter")
    config = OnnxConversion.Config()
    loaded = _load(Adapter(tmp_path / "adapter", {}, {"base": base}), "text-generation", config, "cpu")
    assert sum(isinstance(module, _bottleneck.Bottlenecked) for module in loaded.modules()) == 2


def test_of_fixed_length_the_decoder_reads_what_the_encoder_gives(tmp_path: Path) -> None:
    import torch

    from olive_like.passes._models import load_model
    from olive_like.passes.convert._encoder_decoder import encoder_decoder_parts
    from olive_like.passes.convert._parts import reference

    model = load_model(tiny_models.tiny_t5(tmp_path / "in"))
    encoder, decoder = encoder_decoder_parts(model, torch.float32, "past_key_values", 12)
    given = reference(encoder, encoder.example)["present.0.encoder.key"]
    assert given.shape[2] == 12
    assert decoder.example["past_key_values.0.encoder.key"].shape == given.shape


@pytest.mark.parametrize("settings", [{"torch_dtype": "float16"}, {"dynamic": False, "fixed_sequence_length": 12}])
def test_language_models_in_half_precision_or_of_fixed_length(tmp_path: Path, settings: dict[str, Any]) -> None:
    result = convert(tiny_models.tiny_llama(tmp_path / "in"), tmp_path / "out", target_opset=17, **settings)
    inputs = {value["name"]: value for value in result.attributes["io"]["inputs"]}
    if "torch_dtype" in settings:
        assert inputs["past_key_values.0.key"]["dtype"] == "float16"
        assert result.attributes["verified"]["max_diff_below"] <= 1e-2
    else:
        assert inputs["input_ids"]["shape"] == [1, 12]
