"""Passes before the quantiser: rotations keep the outputs, mixes say which layers get more bits."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from transformers import AutoModelForCausalLM  # noqa: E402

from olive_like.errors import PassError  # noqa: E402
from olive_like.passes.quantize._mixed import spend  # noqa: E402
from olive_like.passes.quantize._rotate import check_orthogonal, orthogonal  # noqa: E402
from tests.quantize.tools import calibration, config, logits, report, run  # noqa: E402
from tests.tiny_models import tiny_gpt2, tiny_llama, tiny_phi3, tiny_qwen2  # noqa: E402


@pytest.mark.parametrize("mode", ["hadamard", "random"])
@pytest.mark.parametrize("size", [64, 96, 36, 7])
def test_rotations_are_orthogonal_and_seeded(size, mode):
    first = orthogonal(size, mode, torch.Generator().manual_seed(1))
    assert check_orthogonal(first) < 1e-10
    assert torch.equal(first, orthogonal(size, mode, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, orthogonal(size, mode, torch.Generator().manual_seed(2)))
    with pytest.raises(PassError, match="not orthogonal"):
        check_orthogonal(first * 1.01)


def test_hadamard_has_entries_of_one_size():
    assert torch.allclose(orthogonal(64, "hadamard", torch.Generator()).abs(), torch.full((64, 64), 1 / 8).double())


@pytest.mark.parametrize("mode", ["hadamard", "random"])
@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2, tiny_phi3])
def test_outputs_stay(make, mode, tmp_path):
    model = make(tmp_path / "model", num_hidden_layers=3, initializer_range=0.2)
    with_norms = AutoModelForCausalLM.from_pretrained(model.path)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in with_norms.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.add_(torch.rand(parameter.shape, generator=draw))
    with_norms.save_pretrained(model.path)
    made, said = run("QuaRot", model, tmp_path / "run", rotate_mode=mode)
    rotated = AutoModelForCausalLM.from_pretrained(made.path)
    want = logits(with_norms)
    assert torch.allclose(logits(rotated), want, atol=1e-4 * want.abs().max().item())
    assert not torch.allclose(rotated.model.embed_tokens.weight, with_norms.model.embed_tokens.weight, atol=1e-3)
    assert torch.equal(rotated.model.norm.weight, torch.ones(64))
    assert next(v["value"] for kind, v in said if kind == "metric" and v["name"] == "orthogonality") < 1e-10


def test_a_tied_head_gets_its_own_matrix(tmp_path):
    model = tiny_llama(tmp_path / "model", tie_word_embeddings=True)
    made, said = run("QuaRot", model, tmp_path / "run")
    assert config(made)["tie_word_embeddings"] is False
    assert "are two now" in " ".join(said.texts("note"))
    want = logits(AutoModelForCausalLM.from_pretrained(model.path))
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(made.path)), want, atol=1e-4)


def test_outliers_cost_less_after_a_rotation(tmp_path):
    model = tiny_llama(tmp_path / "model")
    network = AutoModelForCausalLM.from_pretrained(model.path)
    with torch.no_grad():
        for layer in network.model.layers:
            for name in ("q_proj", "k_proj", "v_proj"):
                getattr(layer.self_attn, name).weight[:, 3] *= 30
    network.save_pretrained(model.path)
    rotated, _ = run("QuaRot", model, tmp_path / "rotated")
    errors = []
    for name, source in (("plain", model), ("turned", rotated)):
        made, _ = run("Rtn", source, tmp_path / name, group_size=64)
        errors.append(report(made)["layers"]["model.layers.0.self_attn.q_proj"]["relative_error"])
    assert errors[1] < errors[0]


def test_builds_that_cannot_be_rotated(tmp_path):
    with pytest.raises(PassError, match="QuaRot does not know the blocks of GPT2Block"):
        run("QuaRot", tiny_gpt2(tmp_path / "gpt2"), tmp_path / "a")
    quantised, _ = run("Rtn", tiny_llama(tmp_path / "llama"), tmp_path / "b", group_size=32)
    with pytest.raises(PassError, match="quantised already"):
        run("QuaRot", quantised, tmp_path / "c")


class TestMix:
    def test_rules(self, tmp_path):
        model = tiny_llama(tmp_path / "model", num_hidden_layers=8)
        chosen = {}
        for algorithm in ("k_quant_mixed", "k_quant_down", "k_quant_last"):
            made, _ = run("SelectiveMixedPrecision", model, tmp_path / algorithm, algorithm=algorithm, group_size=32)
            chosen[algorithm] = set(made.attributes["mixed_precision"]["overrides"])
        assert chosen["k_quant_last"] == {"lm_head"}
        down = {f"model.layers.{i}.mlp.down_proj" for i in (0, 3, 6, 7)}
        assert chosen["k_quant_down"] == {"lm_head"} | down
        values = {f"model.layers.{i}.self_attn.v_proj" for i in (0, 3, 6, 7)}
        assert chosen["k_quant_mixed"] == {"lm_head"} | down | values

    def test_the_quantiser_after_it_follows(self, tmp_path):
        model = tiny_llama(tmp_path / "model")
        data = calibration(tmp_path / "text")
        settings = {"algorithm": "kld_gradient", "group_size": 32, "ratio": 0.65}
        advised, said = run("SelectiveMixedPrecision", model, tmp_path / "mix", data, **settings)
        advice = advised.attributes["mixed_precision"]
        noisy = tiny_llama(tmp_path / "noisy", attention_dropout=0.5)  # the same weights
        again, _ = run("SelectiveMixedPrecision", noisy, tmp_path / "same", data, **settings)
        assert again.attributes == advised.attributes
        share = next(v["value"] for kind, v in said if kind == "metric" and v["name"] == "high_bits_share")
        assert 0.1 < share <= 0.35
        assert all(score >= 0 for score in advice["sensitivity"].values())
        assert max(advice["sensitivity"].values()) > 0
        for name in ("Rtn", "Gptq"):
            made, _ = run(name, advised, tmp_path / name, data if name == "Gptq" else None, group_size=32)
            bits = {layer: found["bits"] for layer, found in report(made)["layers"].items()}
            assert {layer for layer, found in bits.items() if found == 8} == set(advice["overrides"])
            assert set(bits.values()) == {4, 8}
        own, _ = run(
            "Rtn", advised, tmp_path / "own", group_size=32, overrides={next(iter(advice["overrides"])): {"bits": 2}}
        )
        assert report(own)["layers"][next(iter(advice["overrides"]))]["bits"] == 2

    @pytest.mark.parametrize("algorithm", ["kld_gradient", "snr"])
    def test_the_layer_that_suffers_most_is_found(self, algorithm, tmp_path):
        model = tiny_llama(tmp_path / "model", num_hidden_layers=3)
        network = AutoModelForCausalLM.from_pretrained(model.path)
        with torch.no_grad():
            weight = network.model.layers[1].mlp.down_proj.weight
            weight.mul_(4)
            weight[:, ::32] *= 40  # one weight of every group spoils the grid of the others
        network.save_pretrained(model.path)
        data = calibration(tmp_path / "text")
        made, _ = run(
            "SelectiveMixedPrecision", model, tmp_path / "mix", data, algorithm=algorithm, group_size=32, ratio=0.9
        )
        assert "model.layers.1.mlp.down_proj" in made.attributes["mixed_precision"]["overrides"]

    def test_budget(self):
        from olive_like.passes.quantize._grid import Spec
        from olive_like.passes.quantize._skeleton import Target

        def layer(name, size):
            return [Target(name, name, size, 1, Spec(4, 1, False))]

        units = [layer("a", 50), layer("b", 30), layer("c", 20)]
        assert spend(units, {"a": 1.0, "b": 3.0, "c": 1.0}, 0.5) == ["b", "c"]
        assert spend(units, {"a": 1.0, "b": 3.0, "c": 1.0}, 0.0) == []
        assert spend(units, {"a": 1.0, "b": 3.0, "c": 1.0}, 1.0) == ["a", "b", "c"]

    def test_needs_a_ratio(self):
        from olive_like.passes import registry

        with pytest.raises(ValueError, match="needs `ratio`"):
            registry.load("SelectiveMixedPrecision").Config(algorithm="kld_gradient")
