"""SpinQuant: the rotation that is learnt is one, helps, and leaves the outputs as they were."""

from __future__ import annotations

import itertools

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from transformers import AutoModelForCausalLM  # noqa: E402

from olive_like.errors import PassError  # noqa: E402
from olive_like.passes.quantize._rotate import orthogonal  # noqa: E402
from olive_like.passes.quantize._spinquant import cayley_step  # noqa: E402
from tests.quantize.tools import calibration, logits, run  # noqa: E402
from tests.tiny_models import tiny_llama, tiny_phi3, tiny_qwen2  # noqa: E402


def test_a_step_stays_orthogonal_and_goes_downhill():
    goal = orthogonal(12, "random", torch.Generator().manual_seed(1)).float()
    rotation = orthogonal(12, "random", torch.Generator().manual_seed(2)).float()
    losses = []
    for _ in range(60):
        rotation.requires_grad_(True)
        loss = (rotation - goal).square().sum()
        (gradient,) = torch.autograd.grad(loss, rotation)
        rotation = cayley_step(rotation.detach(), gradient, 0.1)
        losses.append(loss.item())
    assert torch.allclose(rotation.T @ rotation, torch.eye(12), atol=1e-4)
    assert losses[-1] < 0.7 * losses[0]
    assert all(later <= earlier + 1e-4 for earlier, later in itertools.pairwise(losses))


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2])
def test_learns_and_keeps_the_outputs(make, tmp_path):
    model = make(tmp_path / "model", tie_word_embeddings=True, initializer_range=0.1)
    data = calibration(tmp_path / "text")
    settings = {"w_bits": 2, "w_group_size": 32, "a_bits": 8, "training_args": {"max_steps": 12}}
    made, said = run("SpinQuant", model, tmp_path / "run", data, **settings)
    found = {v["name"]: v["value"] for kind, v in said if kind == "metric"}
    assert found["rounded_loss_after"] < found["rounded_loss_before"]
    assert found["orthogonality"] < 1e-10
    want = logits(AutoModelForCausalLM.from_pretrained(model.path))
    got = logits(AutoModelForCausalLM.from_pretrained(made.path))
    assert torch.allclose(got, want, atol=1e-4 * want.abs().max().item())
    assert said.steps() == list(range(1, 13))


def test_same_seed_same_model(tmp_path):
    model, data = tiny_llama(tmp_path / "model"), calibration(tmp_path / "text")
    settings = {"w_group_size": 32, "training_args": {"max_steps": 3}}
    bytes_of = []
    for name in ("a", "b"):
        made, _ = run("SpinQuant", model, tmp_path / name, data, **settings)
        bytes_of.append((made.path / "model.safetensors").read_bytes())
    assert bytes_of[0] == bytes_of[1]


def test_fused_projections(tmp_path):
    with pytest.raises(PassError, match="separate query, key and value"):
        run("SpinQuant", tiny_phi3(tmp_path / "model"), tmp_path / "run", calibration(tmp_path / "text"))
