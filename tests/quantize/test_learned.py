"""Learned rounding: slopes as automatic differentiation has them, and a block whose error falls."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from tests.quantize.tools import calibration, logits, report, run  # noqa: E402
from tests.tiny_models import as_artifact, tiny_gpt2, tiny_llama  # noqa: E402


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return calibration(tmp_path_factory.mktemp("text"), count=32, length=64)


@pytest.mark.parametrize(("inputs", "sym"), [(64, False), (72, False), (64, True)])
def test_a_step_follows_the_slope(inputs, sym):
    from olive_like.passes.quantize._grid import Spec, from_range, grouped
    from olive_like.passes.quantize._learned_layer import LearnedLayer

    draw = torch.Generator().manual_seed(3)
    weight = torch.randn(16, inputs, generator=draw)
    slope = torch.randn(16, inputs, generator=draw)
    spec = Spec(3, 32, sym)
    blocks = grouped(weight, 32)
    # A grid that is cut back: some weights lie outside.
    scale, zero = from_range(blocks.amin(-1) * 0.6, blocks.amax(-1) * 0.6, spec)
    layer = LearnedLayer(weight, spec, scale, zero)

    stretch = torch.ones_like(scale, requires_grad=True)
    offset = torch.zeros_like(blocks, requires_grad=True)
    wide = (scale * stretch).unsqueeze(-1)
    exact = blocks / wide + offset
    straight = exact + (exact.round() - exact).detach()
    result = (straight.clamp(-zero.unsqueeze(-1), spec.top - zero.unsqueeze(-1)) * wide).flatten(1)[:, :inputs]
    (result * slope).sum().backward()

    assert torch.allclose(layer.dense(), result.detach(), atol=1e-6)
    assert (offset.grad == 0).any()
    layer.step(slope, 0.01, 0.02)
    moved, stretched = layer.state()
    assert torch.equal(moved, -0.01 * offset.grad.sign())
    assert torch.allclose(stretched, 1 - 0.02 * stretch.grad.sign())
    assert torch.equal(layer.dense(), layer.quantized().dense())


def test_it_beats_rounding_on_the_calibration_text(llama, text, tmp_path):
    from transformers import AutoModelForCausalLM

    from olive_like.passes.quantize._dequant import load_quantized

    made, said = run("LearnedRounding", llama, tmp_path / "learned", text, bits=3, group_size=32)
    plain, _ = run("Rtn", llama, tmp_path / "rtn", bits=3, group_size=32)
    assert all(layer["block_error_left"] < 0.8 for layer in report(made)["layers"].values())
    metrics = {values["name"]: values["value"] for kind, values in said if kind == "metric"}
    assert 0 < metrics["block_error_left"] < 0.8
    want = logits(AutoModelForCausalLM.from_pretrained(llama.path), 64)
    loss = [(logits(load_quantized(m.path, AutoModelForCausalLM), 64) - want).square().mean() for m in (made, plain)]
    assert loss[0] < 0.6 * loss[1]


def test_steps_that_lead_nowhere_are_not_taken(llama, text, tmp_path):
    made, said = run(
        "LearnedRounding", llama, tmp_path, text,
        group_size=32, iterations=3, learning_rate=1e-9, scale_learning_rate=0,
    )  # fmt: skip
    assert len([note for note in said.texts("note") if "rounded to nearest" in note]) == 2
    assert all(layer["block_error_left"] == 1 for layer in report(made)["layers"].values())


def test_a_head_alone(llama, text, tmp_path):
    made, _ = run(
        "LearnedRounding", llama, tmp_path, text, group_size=32, lm_head=True, modules_to_not_convert=["model.layers"]
    )
    assert list(report(made)["layers"]) == ["lm_head"]


def test_the_greatest_seed(llama, text, tmp_path):
    made, _ = run("LearnedRounding", llama, tmp_path, text, seed=2**63 - 1, group_size=32, iterations=20)
    assert all(layer["block_error_left"] < 1 for layer in report(made)["layers"].values())


@pytest.mark.parametrize("name", ["learning_rate", "scale_learning_rate"])
def test_rates_beyond_the_grid_are_refused(name):
    from olive_like.passes.quantize.learned import LearnedRounding

    with pytest.raises(ValueError, match=name):
        LearnedRounding.Config(**{name: 1e300})


def test_weights_that_stand_turned(text, tmp_path):
    made, _ = run("LearnedRounding", tiny_gpt2(tmp_path / "model"), tmp_path / "run", text, group_size=32)
    assert all(layer["block_error_left"] < 1 for layer in report(made)["layers"].values())


def test_the_seed_decides_the_order(llama, text, tmp_path):
    first, again, other = (
        run("LearnedRounding", llama, tmp_path / str(at), text, seed=seed, group_size=32, iterations=20)[0]
        for at, seed in enumerate((1, 1, 2))
    )
    digests = [as_artifact(made.path).digest for made in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]


def test_layers_that_some_batches_do_not_reach():
    from olive_like.passes.quantize._stream import Blocks

    class Experts(torch.nn.ModuleList):
        def forward(self, rows):
            for expert, picked in enumerate((rows[:, 0] < 0, rows[:, 0] > 0)):
                if picked.any():
                    self[expert](rows[picked])
            return rows

    class TwoBatches(Blocks):
        def __init__(self):
            self.hidden = torch.tensor([[-1.0, 2.0], [-3.0, 4.0], [5.0, 6.0]])

        def batches(self, block, index):
            return ((lambda piece=piece: block(piece)) for piece in self.hidden.split(2))

    seen = []
    block = Experts(torch.nn.Linear(2, 2) for _ in range(2))
    TwoBatches().watch(block, 0, ["0", "1"], lambda group, rows: seen.append((group, len(rows))))
    assert seen == [(("0",), 2), (("1",), 1)]
