"""Formats that plain transformers loads by itself, and calibrated passes that leave weights dense."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from olive_like.errors import PassError  # noqa: E402
from olive_like.passes._models import load_model  # noqa: E402
from tests.quantize.tools import calibration, config, logits, report, run  # noqa: E402
from tests.tiny_models import tiny_llama, tiny_phi3, tiny_qwen2  # noqa: E402


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"))


def test_fp8_is_loaded_by_transformers(llama, tmp_path):
    made, said = run("Fp8Quantization", llama, tmp_path)
    assert "blocks of 32 are used" in " ".join(said.texts("note"))
    stored = load_file(made.path / "model.safetensors")
    name = "model.layers.0.mlp.up_proj"
    assert stored[f"{name}.weight"].dtype == torch.float8_e4m3fn
    assert stored[f"{name}.weight_scale_inv"].shape == (4, 2)
    want = load_file(llama.path / "model.safetensors")[f"{name}.weight"]
    blocks = stored[f"{name}.weight"].float().view(4, 32, 2, 32) * stored[f"{name}.weight_scale_inv"][:, None, :, None]
    error = (blocks.view(want.shape) - want).norm() / want.norm()
    assert error.item() == pytest.approx(report(made)["layers"][name]["relative_error"], abs=1e-5)
    assert 0.01 < error < 0.04  # three bits of mantissa
    assert config(made)["quantization_config"]["quant_method"] == "fp8"
    original = logits(AutoModelForCausalLM.from_pretrained(llama.path))
    network = AutoModelForCausalLM.from_pretrained(made.path, dtype=torch.float32)
    got = network.get_submodule(name).weight.float()
    assert torch.allclose(got, blocks.view(want.shape), rtol=0.01, atol=1e-4)
    assert torch.nn.functional.cosine_similarity(logits(network), original, dim=-1).mean() > 0.99


@pytest.mark.parametrize("precision", ["nf4", "fp4", "int8"])
def test_bitsandbytes_is_loaded_by_transformers(precision, llama, tmp_path):
    pytest.importorskip("bitsandbytes")
    made, said = run("BnbQuantization", llama, tmp_path, precision=precision, compute_dtype="float32")
    found = {v["name"]: v["value"] for kind, v in said if kind == "metric"}
    assert found["tokens_per_second_before"] > 0
    (written,) = re.findall(r"writes ([\d.]+) tokens/s", " ".join(said.texts("note")))
    assert float(written) == pytest.approx(found["tokens_per_second_after"], abs=0.11)  # both are rounded
    want = logits(AutoModelForCausalLM.from_pretrained(llama.path))
    for network in (AutoModelForCausalLM.from_pretrained(made.path), load_model(made)):
        assert torch.nn.functional.cosine_similarity(logits(network), want, dim=-1).mean() > 0.9
    low, high = (0.001, 0.02) if precision == "int8" else (0.05, 0.2)
    assert all(low < layer["relative_error"] < high for layer in report(made)["layers"].values())
    settings = config(made)["quantization_config"]
    assert settings["load_in_8bit" if precision == "int8" else "load_in_4bit"] is True


@pytest.mark.parametrize("name", ["Fp8Quantization", "BnbQuantization"])
def test_what_they_refuse(name, llama, tmp_path):
    with pytest.raises(PassError, match="no layer is called"):
        run(name, llama, tmp_path / "a", modules_to_not_convert=["nothing"])
    made, _ = run("Rtn", llama, tmp_path / "b", group_size=32)
    with pytest.raises(PassError, match="quantised already"):
        run(name, made, tmp_path / "c")


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2, tiny_phi3])
def test_smoothing_keeps_the_outputs_and_evens_the_inputs(make, tmp_path):
    model = make(tmp_path / "model")
    network = AutoModelForCausalLM.from_pretrained(model.path)
    with torch.no_grad():
        for layer in network.model.layers:
            layer.input_layernorm.weight[5] = 40.0
    network.save_pretrained(model.path)
    made, said = run("SmoothQuant", model, tmp_path / "run", calibration(tmp_path / "text"))
    want = logits(network)
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(made.path)), want, atol=1e-3)
    found = {v["name"]: v["value"] for kind, v in said if kind == "metric"}
    assert found["outlier_after"] < 0.5 * found["outlier_before"]
    smoothed = load_model(made).model.layers[0].input_layernorm.weight
    assert smoothed[5] < 20


def test_clipping_alone_helps_the_rounding_after_it(tmp_path):
    model = tiny_llama(tmp_path / "model")
    data = calibration(tmp_path / "text", count=16)
    settings = {"bits": 3, "group_size": 64}
    clipped, said = run("AutoClip", model, tmp_path / "clip", data, **settings)
    want = logits(AutoModelForCausalLM.from_pretrained(model.path))
    losses = []
    for name, source in (("plain", model), ("clipped", clipped)):
        made, _ = run("Rtn", source, tmp_path / name, **settings)
        losses.append((logits(load_model(made)) - want).square().mean().item())
    assert losses[1] < losses[0]
    share = next(v["value"] for kind, v in said if kind == "metric" and v["name"] == "clipped_weights")
    assert 0 < share < 0.2
