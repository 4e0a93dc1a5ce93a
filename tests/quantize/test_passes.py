"""The passes on tiny models: what is stored, what it says, and what it refuses."""

from __future__ import annotations

import shutil

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from pydantic import ValidationError  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModel, AutoModelForCausalLM  # noqa: E402

from olive_like.artifacts import HfModel  # noqa: E402
from olive_like.errors import PassError  # noqa: E402
from olive_like.passes.quantize._dequant import dense_tensors, load_quantized  # noqa: E402
from tests.quantize.tools import calibration, config, logits, report, run  # noqa: E402
from tests.tiny_models import (  # noqa: E402
    as_artifact,
    tiny_bert,
    tiny_gpt2,
    tiny_llama,
    tiny_phi3,
    tiny_qwen2,
    tiny_t5,
    tiny_vit,
)  # fmt: skip

DATA_FREE = ["Rtn", "KQuant", "Hqq"]
CALIBRATED = ["Gptq", "GptqModel", "GptqQuantizer", "AutoAWQQuantizer", "LearnedRounding"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> HfModel:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return calibration(tmp_path_factory.mktemp("text"))


def _group(name: str) -> dict[str, int]:
    return {"q_group_size": 32} if name == "AutoAWQQuantizer" else {"group_size": 32}


def _damage(model: HfModel, where, name: str, change) -> HfModel:
    shutil.copytree(model.path, where)
    tensors = load_file(where / "model.safetensors")
    tensors = {key: value.clone() for key, value in tensors.items()}
    change(tensors[name])
    save_file(tensors, where / "model.safetensors", metadata={"format": "pt"})
    return as_artifact(where, model.task)


@pytest.mark.parametrize("name", DATA_FREE + CALIBRATED)
def test_four_bits_are_near_the_original_and_smaller(name, llama, data, tmp_path):
    made, said = run(name, llama, tmp_path, data if name in CALIBRATED else None, **_group(name))
    want = logits(AutoModelForCausalLM.from_pretrained(llama.path))
    got = logits(load_quantized(made.path, AutoModelForCausalLM))
    assert torch.nn.functional.cosine_similarity(got, want, dim=-1).mean() > 0.9
    assert not torch.equal(got, want)
    settings = config(made)["quantization_config"]
    assert (settings["quant_method"], settings["bits"], settings["group_size"]) == ("gptq", 4, 32)
    measured = report(made)
    assert measured["bytes_after"] < measured["bytes_before"]
    assert len(measured["layers"]) == 14
    assert all(0 < layer["relative_error"] < 0.2 for layer in measured["layers"].values())
    assert all(0.98 < layer["cosine"] < 1 for layer in measured["layers"].values())
    metrics = {values["name"]: values["value"] for kind, values in said if kind == "metric"}
    # 4 bits, and per group of 32 a scale of 16 bits and a zero point of 4.
    assert metrics["bits_per_weight"] == pytest.approx(4 + 20 / 32)
    assert said.steps()[-1] == (14 if name in DATA_FREE else 2)


@pytest.mark.parametrize("name", [*DATA_FREE, "Gptq"])
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_other_widths(name, bits, llama, data, tmp_path):
    made, _ = run(name, llama, tmp_path, data if name == "Gptq" else None, bits=bits, group_size=32)
    errors = [layer["relative_error"] for layer in report(made)["layers"].values()]
    low, high = {2: (0.2, 0.9), 3: (0.08, 0.4), 8: (0.001, 0.02)}[bits]
    assert all(low < error < high for error in errors)
    assert torch.isfinite(logits(load_quantized(made.path))).all()


def test_what_is_stored_is_what_the_report_says(llama, tmp_path):
    made, _ = run("Rtn", llama, tmp_path, group_size=32)
    before = load_file(llama.path / "model.safetensors")
    for name, dense in dense_tensors(made.path):
        layer = report(made)["layers"].get(name.removesuffix(".weight"))
        if layer is None:
            assert torch.equal(dense, before[name])
        else:
            error = (dense - before[name]).norm() / before[name].norm()
            assert error.item() == pytest.approx(layer["relative_error"], abs=2e-5)


@pytest.mark.parametrize("name", ["Rtn", "Gptq"])
@pytest.mark.parametrize("make", [tiny_gpt2, tiny_qwen2, tiny_phi3, tiny_bert])
def test_other_architectures(name, make, data, tmp_path):
    model = make(tmp_path / "model")
    if make is tiny_bert:
        data = calibration(tmp_path / "text", vocabulary=60)
    made, _ = run(name, model, tmp_path / "run", data if name == "Gptq" else None, bits=8, group_size=32)
    auto = AutoModel if make is tiny_bert else AutoModelForCausalLM
    plain, rounded = auto.from_pretrained(model.path).eval(), load_quantized(made.path, auto)
    tokens = torch.randint(5, 60, (2, 16), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        want, got = plain(tokens)[0], rounded(tokens)[0]
    assert torch.allclose(got, want, atol=0.05 * want.abs().max().item())
    assert not torch.equal(got, want)


def test_models_that_only_rounding_takes(data, tmp_path):
    made, _ = run("Rtn", tiny_t5(tmp_path / "t5"), tmp_path / "t5-run", group_size=32)
    assert all(layer["relative_error"] < 0.2 for layer in report(made)["layers"].values())
    assert load_quantized(made.path).config.model_type == "t5"
    with pytest.raises(PassError, match="no weights by the names of ViTForImageClassification's layers"):
        run("Rtn", tiny_vit(tmp_path / "vit"), tmp_path / "vit-run", group_size=32)
    with pytest.raises(PassError, match=r"several lists of blocks \(encoder\.block, decoder\.block\)"):
        run("Gptq", tiny_t5(tmp_path / "again"), tmp_path / "run", data, group_size=32)


def test_experts_in_one_tensor(data, tmp_path):
    from transformers import MixtralConfig, MixtralForCausalLM

    from tests.tiny_models import tiny_tokenizer

    tiny_tokenizer(tmp_path / "model")
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape = MixtralConfig(**sizes, num_key_value_heads=2, num_local_experts=4, vocab_size=448)
    MixtralForCausalLM(shape).save_pretrained(tmp_path / "model")
    model = as_artifact(tmp_path / "model", "text-generation")
    made, said = run("Rtn", model, tmp_path / "rtn", bits=8, group_size=32)
    assert "stay as they are" in " ".join(said.texts("note"))
    want = logits(AutoModelForCausalLM.from_pretrained(model.path))
    assert torch.allclose(logits(load_quantized(made.path)), want, atol=0.05)
    with pytest.raises(PassError, match="all experts of a mixture in one tensor"):
        run("Gptq", model, tmp_path / "gptq", data, group_size=32)


def test_gptq_beats_rounding_on_the_calibration_text(llama, tmp_path):
    text = calibration(tmp_path / "text", count=32, length=64)
    made, _ = run("Gptq", llama, tmp_path / "gptq", text, bits=3, group_size=32)
    plain, _ = run("Rtn", llama, tmp_path / "rtn", bits=3, group_size=32)
    want = logits(AutoModelForCausalLM.from_pretrained(llama.path), 64)
    loss = [(logits(load_quantized(m.path, AutoModelForCausalLM), 64) - want).square().mean() for m in (made, plain)]
    assert loss[0] < 0.8 * loss[1]


def test_same_seed_same_bytes(llama, data, tmp_path):
    first, _ = run("Gptq", llama, tmp_path / "a", data, group_size=32)
    second, _ = run("Gptq", llama, tmp_path / "b", data, group_size=32)
    assert as_artifact(first.path).digest == as_artifact(second.path).digest


def test_groups_that_do_not_divide_are_said(tmp_path, data):
    model = tiny_llama(tmp_path / "model", hidden_size=96, num_attention_heads=4, intermediate_size=160)
    for name in ("Rtn", "Gptq", "AutoAWQQuantizer"):
        settings = {"q_group_size": 64} if name == "AutoAWQQuantizer" else {"group_size": 64}
        made, said = run(name, model, tmp_path / name, None if name == "Rtn" else data, **settings)
        assert "last group has 32" in " ".join(said.texts("note"))
        stored = load_file(next(made.path.glob("*01*.safetensors"), made.path / "model.safetensors"))
        assert stored["model.layers.0.self_attn.q_proj.scales"].shape == (2, 96)
        assert torch.isfinite(logits(load_quantized(made.path, AutoModelForCausalLM))).all()


def test_head_and_embedding_on_request(llama, data, tmp_path):
    made, _ = run("Rtn", llama, tmp_path / "rtn", bits=8, group_size=32, lm_head=True, embeds=True)
    assert {"lm_head", "model.embed_tokens"} <= set(report(made)["layers"])
    want = logits(AutoModelForCausalLM.from_pretrained(llama.path))
    assert torch.allclose(logits(load_quantized(made.path, AutoModelForCausalLM)), want, atol=0.02)
    made, _ = run("Gptq", llama, tmp_path / "gptq", data, bits=8, group_size=32, lm_head=True)
    assert config(made)["quantization_config"]["lm_head"] is True
    assert torch.allclose(logits(load_quantized(made.path, AutoModelForCausalLM)), want, atol=0.02)


def test_tied_embeddings_stay_one_matrix_where_both_are_asked_for(tmp_path, data):
    model = tiny_llama(tmp_path / "model", tie_word_embeddings=True)
    want = logits(AutoModelForCausalLM.from_pretrained(model.path))
    both, _ = run("Rtn", model, tmp_path / "both", bits=8, group_size=32, lm_head=True, embeds=True)
    names = set(load_file(both.path / "model.safetensors"))
    assert "lm_head.qweight" in names
    assert not any("embed_tokens" in name for name in names)
    assert config(both)["tie_word_embeddings"] is True
    assert torch.allclose(logits(load_quantized(both.path, AutoModelForCausalLM)), want, atol=0.02)
    for name in ("Rtn", "Gptq"):
        head, _ = run(
            name, model, tmp_path / name, data if name == "Gptq" else None, bits=8, group_size=32, lm_head=True
        )
        assert config(head)["tie_word_embeddings"] is False
        network = load_quantized(head.path, AutoModelForCausalLM)
        assert not torch.equal(network.lm_head.weight, network.model.embed_tokens.weight)
        assert torch.allclose(logits(network), want, atol=0.02)


def test_a_quantised_model_takes_the_layers_that_are_left(llama, data, tmp_path):
    first, _ = run("Gptq", llama, tmp_path / "a", data, group_size=32)
    second, _ = run(
        "Rtn", first, tmp_path / "b", bits=8, group_size=64, lm_head=True, embeds=True,
        overrides={"lm_head": {"bits": 8}, "model.embed_tokens": {"bits": 8}},
    )  # fmt: skip
    assert set(report(second)["layers"]) == {"lm_head", "model.embed_tokens"}
    before, after = dict(dense_tensors(first.path)), dict(dense_tensors(second.path))
    layer = "model.layers.1.mlp.down_proj.weight"
    assert torch.equal(before[layer], after[layer])
    assert torch.allclose(before["lm_head.weight"], after["lm_head.weight"], atol=2e-3)


def test_overrides_and_exclusions(llama, tmp_path):
    made, _ = run(
        "Rtn", llama, tmp_path, group_size=32, overrides={"model.layers.0.mlp.down_proj": {"bits": 8, "sym": True}},
        modules_to_not_convert=["layers.1", "v_proj"],
    )  # fmt: skip
    layers = report(made)["layers"]
    assert not any("layers.1" in name or "v_proj" in name for name in layers)
    assert layers["model.layers.0.mlp.down_proj"]["bits"] == 8
    assert layers["model.layers.0.mlp.up_proj"]["bits"] == 4
    dynamic = config(made)["quantization_config"]["dynamic"]
    assert dynamic["+:model\\.layers\\.0\\.mlp\\.down_proj"] == {"bits": 8, "sym": True}
    assert dynamic["-:model\\.layers\\.0\\.self_attn\\.v_proj"] == {}
    want = dict(load_file(llama.path / "model.safetensors"))
    got = dict(dense_tensors(made.path))
    assert torch.allclose(
        got["model.layers.0.mlp.down_proj.weight"], want["model.layers.0.mlp.down_proj.weight"], atol=1e-3
    )
    assert torch.equal(got["model.layers.1.mlp.up_proj.weight"], want["model.layers.1.mlp.up_proj.weight"])


def test_patterns_of_gptqmodel(llama, data, tmp_path):
    made, said = run(
        "GptqModel", llama, tmp_path, data, group_size=32,
        dynamic={r"+:.*layers\.0(?!\d).*v_proj.*": {"bits": 8}, r"-:.*layers\.1\.mlp.*": {}, "+:.*nothing.*": {}},
    )  # fmt: skip
    layers = report(made)["layers"]
    assert layers["model.layers.0.self_attn.v_proj"]["bits"] == 8
    assert not any("layers.1.mlp" in name for name in layers)
    assert "nothing" in " ".join(said.texts("warning"))


def test_rotation_inside_of_gptqmodel(tmp_path, data):
    model = tiny_llama(tmp_path / "model", tie_word_embeddings=True)
    made, _ = run("GptqModel", model, tmp_path / "run", data, bits=8, group_size=32, rotation="hadamard")
    assert config(made)["tie_word_embeddings"] is False
    want = logits(AutoModelForCausalLM.from_pretrained(model.path))
    assert torch.allclose(logits(load_quantized(made.path)), want, atol=0.02)
    for wrong in ({"rotation": "twist"}, {"group_size": 0}, {"dynamic": {"+:.*": {"group_size": -3}}}):
        with pytest.raises(ValidationError, match=r"'hadamard' or 'random'|must be a positive number, or -1"):
            run("GptqModel", model, tmp_path / "other", data, **wrong)


def test_without_data_the_model_writes_its_own(tmp_path, monkeypatch):
    from olive_like.passes.quantize import _calibrate

    monkeypatch.setattr(_calibrate, "OWN_SEQUENCES", 4)
    monkeypatch.setattr(_calibrate, "OWN_LENGTH", 24)
    model = tiny_llama(tmp_path / "model")
    made, said = run("Gptq", model, tmp_path / "a", group_size=32)
    assert "the model itself wrote 4 texts of 24 tokens (seed 0)" in " ".join(said.texts("note"))
    again, _ = run("Gptq", model, tmp_path / "b", group_size=32)
    other, _ = run("Gptq", model, tmp_path / "c", group_size=32, seed=1)
    digests = [as_artifact(m.path).digest for m in (made, again, other)]
    assert digests[0] == digests[1] != digests[2]
    for file in model.path.glob("*token*"):
        file.unlink()
    with pytest.raises(PassError, match="has no tokenizer"):
        run("Gptq", model, tmp_path / "d", group_size=32)


class TestRefuses:
    def test_nan(self, llama, data, tmp_path):
        def spoil(weight):
            weight[0, 0] = float("nan")

        name = "model.layers.1.mlp.up_proj.weight"
        model = _damage(llama, tmp_path / "model", name, spoil)
        for each in ("Rtn", "Gptq", "AutoAWQQuantizer"):
            with pytest.raises(PassError, match=r"layers\.1\.mlp\.up_proj.* NaN or infinity"):
                run(each, model, tmp_path / each, None if each == "Rtn" else data, **_group(each))

    def test_a_model_that_is_quantised_already(self, llama, data, tmp_path):
        first, _ = run("Rtn", llama, tmp_path / "first", group_size=32)
        with pytest.raises(PassError, match="quantised already and nothing is left"):
            run("Rtn", first, tmp_path / "again", group_size=32)
        for name in ("Gptq", "AutoAWQQuantizer", "LearnedRounding"):
            with pytest.raises(PassError, match="quantised already"):
                run(name, first, tmp_path / name, data, **_group(name))

    def test_a_group_longer_than_a_row(self, llama, data, tmp_path):
        with pytest.raises(PassError, match=r"group_size 128 is more than the 64 inputs of model\.layers\.0"):
            run("Rtn", llama, tmp_path / "a", group_size=128)
        with pytest.raises(PassError, match="group_size 128 is more"):
            run("Gptq", llama, tmp_path / "b", data)

    def test_a_module_that_is_not_there(self, llama, tmp_path):
        with pytest.raises(PassError, match="'down_prj', which no layer is called") as error:
            run("Rtn", llama, tmp_path / "a", group_size=32, modules_to_not_convert=["down_prj"])
        assert "down_proj" in error.value.hint
        with pytest.raises(PassError, match="overrides names"):
            run("Rtn", llama, tmp_path / "b", group_size=32, overrides={"model.layers.7.mlp.up_proj": {"bits": 8}})

    def test_nothing_left(self, llama, tmp_path):
        with pytest.raises(PassError, match="no layer is left to quantise"):
            run("Rtn", llama, tmp_path, group_size=32, modules_to_not_convert=["layers"])

    def test_a_model_that_gets_no_smaller(self, tmp_path):
        model = tiny_llama(tmp_path / "model")
        with pytest.raises(PassError, match="no smaller"):
            run("Rtn", model, tmp_path / "run", bits=8, group_size=1)

    def test_empty_calibration(self, llama, tmp_path):
        from olive_like.artifacts import Dataset

        (tmp_path / "text").mkdir()
        empty = Dataset(tmp_path / "text", {"format": "tokenized"})
        with pytest.raises(PassError, match="calibration data is empty"):
            run("Gptq", llama, tmp_path, empty, group_size=32)

    def test_calibration_of_another_vocabulary(self, llama, tmp_path):
        text = calibration(tmp_path / "text", vocabulary=5000)
        with pytest.raises(PassError, match="vocabulary ends at 447"):
            run("Gptq", llama, tmp_path, text, group_size=32)

    def test_calibration_without_tokens(self, llama, tmp_path):
        from olive_like.artifacts import Dataset
        from olive_like.data._tokenized import write

        (tmp_path / "text").mkdir()
        write(tmp_path / "text", "train", [{"label": 1}], "lm")
        with pytest.raises(PassError, match="no token sequences"):
            run("Gptq", llama, tmp_path, Dataset(tmp_path / "text", {"format": "tokenized"}), group_size=32)

    def test_a_build_that_awq_does_not_know(self, data, tmp_path):
        model = tiny_gpt2(tmp_path / "model")
        with pytest.raises(PassError, match="AWQ does not know the blocks of GPT2Block"):
            run("AutoAWQQuantizer", model, tmp_path / "run", data, q_group_size=32)


def test_a_model_of_bfloat16(data, tmp_path):
    model = tiny_llama(tmp_path / "model")
    network = AutoModelForCausalLM.from_pretrained(model.path).to(torch.bfloat16)
    network.save_pretrained(model.path)
    want = logits(network)
    for name in ("Gptq", "AutoAWQQuantizer", "LearnedRounding"):
        made, _ = run(name, model, tmp_path / name, data, **_group(name))
        got = logits(load_quantized(made.path))
        assert torch.nn.functional.cosine_similarity(got, want, dim=-1).mean() > 0.95
        stored = load_file(next(made.path.glob("*00001-of*.safetensors")))
        assert stored["model.layers.0.input_layernorm.weight"].dtype == torch.bfloat16


def test_a_folder_with_a_layer_missing_is_not_loaded(llama, tmp_path):
    made, _ = run("Rtn", llama, tmp_path, group_size=32)
    tensors = load_file(made.path / "model.safetensors")
    kept = {name: tensor.clone() for name, tensor in tensors.items() if "layers.1.mlp.up_proj" not in name}
    save_file(kept, made.path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PassError, match=r"lacks weights .*layers\.1\.mlp\.up_proj"):
        load_quantized(made.path)


def test_an_embedding_that_is_the_head_too(tmp_path):
    model = tiny_llama(tmp_path / "model", tie_word_embeddings=True)
    made, said = run("Rtn", model, tmp_path / "run", bits=8, group_size=32, embeds=True)
    assert "quantised with it" in " ".join(said.texts("note"))
    want = logits(AutoModelForCausalLM.from_pretrained(model.path))
    assert torch.allclose(logits(load_quantized(made.path)), want, atol=0.02)
