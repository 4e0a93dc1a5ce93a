"""SparseGPT: where zeros stand, what they cost beside magnitude pruning, and what is refused."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from pydantic import ValidationError  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from olive_like.artifacts import HfModel  # noqa: E402
from olive_like.errors import PassError  # noqa: E402
from olive_like.passes import registry  # noqa: E402
from olive_like.passes.quantize._gptq_solve import inverse_factor  # noqa: E402
from olive_like.passes.quantize._sparse_solve import Pattern, prune  # noqa: E402
from tests.quantize.tools import calibration, run  # noqa: E402
from tests.tiny_models import tiny_gpt2, tiny_llama  # noqa: E402


def _problem(inputs=192, rows=48):
    draw = torch.Generator().manual_seed(0)
    mixing = torch.randn(inputs, inputs, generator=draw) / inputs**0.5
    # A few directions carry most of it, as in a language model's activations.
    text = torch.randn(2000, inputs, generator=draw) / torch.linspace(1, 8, inputs) @ mixing
    return torch.randn(rows, inputs, generator=draw) * 0.02, text


def _loss(weight, pruned, text):
    return (text @ (weight - pruned).T).square().mean().item()


def _by_magnitude(weight, zeros, period):
    blocks = weight.view(len(weight), -1, period).clone()
    blocks.scatter_(-1, blocks.abs().argsort(-1)[..., :zeros], 0)
    return blocks.view(weight.shape)


@pytest.mark.parametrize(("sparsity", "most"), [(0.5, 0.5), (0.7, 0.7), ([2, 4], 0.5), ([4, 8], 0.5), ([1, 3], 0.5)])
def test_loses_less_than_the_smallest_weights(sparsity, most):
    weight, text = _problem()
    pattern = Pattern.of(sparsity)
    factor = inverse_factor(text.T @ text / len(text), 0.01, 0.01, "x")
    pruned = prune(weight, factor, pattern, blocksize=100)
    zeros = (pruned == 0).sum().item()
    assert zeros == round(pattern.share * weight.numel())
    if pattern.zeros:
        assert ((pruned == 0).view(48, -1, pattern.period).sum(-1) == pattern.zeros).all()
        plain = _by_magnitude(weight, pattern.zeros, pattern.period)
    else:
        plain = _by_magnitude(weight.view(1, -1), zeros, weight.numel()).view(weight.shape)
    assert _loss(weight, pruned, text) < most * _loss(weight, plain, text)


def test_equals_the_textbook_column_by_column():
    weight, text = _problem(inputs=150, rows=8)
    weight = weight.double()
    curvature = text.double().T @ text.double() / len(text)
    damped = curvature + torch.eye(150) * 0.01 * curvature.diagonal().mean()
    pruned = prune(weight, inverse_factor(curvature, 0.01, 0.01, "x"), Pattern.of([2, 4]), blocksize=48)
    work, inverse = weight.clone(), torch.linalg.inv(damped)
    removed = torch.zeros_like(work, dtype=torch.bool)
    for column in range(150):
        if column % 4 == 0 and column + 4 <= 150:
            # Each column's curvature among those that are still free when its turn comes.
            left, scores = inverse.clone(), []
            for ahead in range(column, column + 4):
                scores.append(work[:, ahead].square() / left[ahead, ahead])
                left -= torch.outer(left[:, ahead], left[ahead]) / left[ahead, ahead]
            lost = torch.stack(scores, 1).argsort(1)[:, :2] + column
            removed.scatter_(1, lost, True)
        error = (work[:, column] * removed[:, column]) / inverse[column, column]
        work -= torch.outer(error, inverse[column])
        inverse -= torch.outer(inverse[:, column], inverse[column]) / inverse[column, column]
        inverse[column, column] = 1.0
    assert torch.allclose(pruned, work.masked_fill(removed, 0), atol=1e-12)
    assert (pruned[:, 148:] != 0).all()  # fewer than four are left: they stay


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return calibration(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> HfModel:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


def test_loads_in_plain_transformers(llama, data, tmp_path):
    made, said = run("SparseGPT", llama, tmp_path, data, sparsity=[2, 4])
    before, model = (AutoModelForCausalLM.from_pretrained(m.path) for m in (llama, made))
    layers = json.loads((made.path / "prune.json").read_text())["layers"]
    assert len(layers) == 14
    for name, report in layers.items():
        weight = model.get_submodule(name).weight
        assert ((weight == 0).view(len(weight), -1, 4).sum(-1) == 2).all()
        assert report["sparsity"] == 0.5
        assert 0 < report["output_error"] < 0.6
    assert torch.equal(model.lm_head.weight, before.lm_head.weight)
    metrics = {values["name"]: values["value"] for kind, values in said if kind == "metric"}
    assert metrics["sparsity"] == 0.5


def test_only_what_is_asked_for(llama, data, tmp_path):
    settings = {"sparsity": 0.25, "min_layer": 1, "max_layer": 2, "layer_name_filter": ["mlp", "q_proj"]}
    made, _ = run("SparseGPT", llama, tmp_path, data, **settings)
    layers = json.loads((made.path / "prune.json").read_text())["layers"]
    assert {name.rpartition(".")[2] for name in layers} == {"q_proj", "gate_proj", "up_proj", "down_proj"}
    assert all(".layers.1." in name for name in layers)
    before, model = (AutoModelForCausalLM.from_pretrained(m.path).state_dict() for m in (llama, made))
    assert {n.removesuffix(".weight") for n in before if not torch.equal(before[n], model[n])} == set(layers)


def test_transposed_layers(data, tmp_path):
    made, _ = run("SparseGPT", tiny_gpt2(tmp_path / "model"), tmp_path / "run", data, sparsity=[2, 4])
    weight = AutoModelForCausalLM.from_pretrained(made.path).transformer.h[0].mlp.c_fc.weight.T
    assert ((weight == 0).reshape(len(weight), -1, 4).sum(-1) == 2).all()


@pytest.mark.parametrize("sparsity", [0.0, 1.0, [4, 2], [2], [0, 4]])
def test_impossible_sparsity(sparsity):
    with pytest.raises(ValidationError, match="sparsity"):
        registry.load("SparseGPT").Config(sparsity=sparsity)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"layer_name_filter": "attention"}, "in no layer's name"), ({"min_layer": 2}, "the model has 2 blocks")],
)
def test_nothing_to_prune(settings, words, llama, data, tmp_path):
    with pytest.raises(PassError, match=words):
        run("SparseGPT", llama, tmp_path, data, sparsity=0.5, **settings)
