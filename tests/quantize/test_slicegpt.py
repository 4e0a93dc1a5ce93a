"""SliceGPT: nothing is lost that was not there, and what is left is an ordinary model."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from transformers import AutoModelForCausalLM  # noqa: E402

from olive_like.errors import PassError  # noqa: E402
from tests.quantize.tools import calibration, config, logits, run  # noqa: E402
from tests.tiny_models import as_artifact, tiny_gpt2, tiny_llama, tiny_phi3, tiny_qwen2  # noqa: E402

FIELD = "calibration_data_config"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return calibration(tmp_path_factory.mktemp("text"))


def _with_a_stream_of(model, dimensions):
    """The model changed so that its residual stream has no more dimensions than these; norms have gains."""
    network = AutoModelForCausalLM.from_pretrained(model.path)
    draw = torch.Generator().manual_seed(0)
    width = network.config.hidden_size
    basis = torch.linalg.qr(torch.randn(width, dimensions, generator=draw))[0]
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.add_(torch.rand(parameter.shape, generator=draw))
            elif name.endswith("embed_tokens.weight"):
                parameter.copy_(parameter @ basis @ basis.T)
            elif name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.copy_(basis @ basis.T @ parameter)
    network.save_pretrained(model.path)
    return as_artifact(model.path, model.task), network


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2, tiny_phi3])
@pytest.mark.parametrize("kept", [64, 48])
def test_directions_that_are_empty_cost_nothing(make, kept, data, tmp_path):
    model, network = _with_a_stream_of(make(tmp_path / "model", initializer_range=0.2), kept)
    made, said = run("SliceGPT", model, tmp_path / "run", data, field=FIELD, sparsity=1 - kept / 64)
    assert config(made)["hidden_size"] == kept
    sliced = AutoModelForCausalLM.from_pretrained(made.path)
    assert sliced.model.embed_tokens.weight.shape[1] == kept
    want = logits(network)
    assert torch.allclose(logits(sliced), want, atol=1e-3 * want.abs().max().item())
    assert next(v["value"] for kind, v in said if kind == "metric" and v["name"] == "variance_kept") > 0.9999


def test_main_directions_are_kept(data, tmp_path):
    model, network = _with_a_stream_of(tiny_llama(tmp_path / "model", initializer_range=0.2), 56)
    want = logits(network)
    close = []
    for seed, sparsity in enumerate((0.125, 0.25, 0.5)):
        made, _ = run("SliceGPT", model, tmp_path / str(seed), data, field=FIELD, sparsity=sparsity)
        got = logits(AutoModelForCausalLM.from_pretrained(made.path))
        close.append(torch.nn.functional.cosine_similarity(got, want, dim=-1).mean().item())
    assert close[0] > 0.999
    assert close[0] > close[1] > close[2] > 0


def test_what_cannot_be_cut(data, tmp_path):
    llama = tiny_llama(tmp_path / "llama")
    with pytest.raises(PassError, match="leaves less than 8 of 64"):
        run("SliceGPT", llama, tmp_path / "much", data, field=FIELD, sparsity=0.9)
    with pytest.raises(PassError, match="SliceGPT does not know the blocks of GPT2Block"):
        run("SliceGPT", tiny_gpt2(tmp_path / "gpt2"), tmp_path / "run", data, field=FIELD, sparsity=0.25)


def test_a_share_that_no_number_is_exactly_leaves_all_that_it_should(tmp_path):
    from types import SimpleNamespace

    from olive_like.passes.base import Context
    from olive_like.passes.quantize._slicegpt import width_left

    plan = SimpleNamespace(width=640, family=SimpleNamespace(heads=4))
    context = Context(tmp_path, tmp_path / "scratch")
    assert [width_left(plan, sparsity, 8, context) for sparsity in (0.9, 0.8, 0.3, 0.25)] == [64, 128, 448, 480]
