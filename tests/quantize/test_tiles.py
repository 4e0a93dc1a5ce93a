"""However a layer is cut up and shared out, the bytes are the same."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from olive_like.errors import PassError  # noqa: E402
from olive_like.passes.quantize import _tiles  # noqa: E402
from olive_like.passes.quantize._pack import pack_rows, unpack_rows  # noqa: E402
from tests.quantize.tools import report, run  # noqa: E402
from tests.tiny_models import tiny_gpt2, tiny_llama  # noqa: E402


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("name", ["Rtn", "KQuant"])
def test_pieces_and_threads_change_nothing(name, make, tmp_path, monkeypatch):
    model = make(tmp_path / "model")
    settings = {"group_size": 48, "bits": 3, "embeds": True, "lm_head": True}  # 48 divides no layer
    whole, _ = run(name, model, tmp_path / "whole", **settings)
    for setting, count in (("_BAND", 300), ("_AHEAD", 5000)):
        monkeypatch.setattr(_tiles, setting, count)
    layers = _tiles.round_layers
    monkeypatch.setattr(
        "olive_like.passes.quantize._weightonly.round_layers",
        lambda checkpoint, targets, way, _threads: layers(checkpoint, targets, way, 3),
    )
    pieces, _ = run(name, model, tmp_path / "pieces", **settings)
    first, second = (load_file(made.path / "model.safetensors") for made in (whole, pieces))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    for layer, measured in report(whole)["layers"].items():
        assert report(pieces)["layers"][layer] == pytest.approx(measured, abs=2e-6)


def test_an_error_in_a_thread_ends_the_work(tmp_path):
    model = tiny_llama(tmp_path / "model")

    def broken(rows, spec, name, measured):
        raise PassError(f"{name} will not do")

    checkpoint = _tiles.Checkpoint.of(model.path)
    target = _tiles.Target("m", "model.layers.0.mlp.up_proj", 128, 64, _tiles.Spec(4, 32, False))
    with pytest.raises(PassError, match="m will not do"):
        list(_tiles.round_layers(checkpoint, [target] * 5, broken, 2))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("width", [1, 31, 32, 70])
def test_packing_and_back(bits, width):
    codes = torch.randint(0, 2**bits, (5, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(width))
    words = pack_rows(codes, bits)
    assert torch.equal(unpack_rows(words, bits, width), codes)
    stream = words.numpy().view("uint8")
    bit = [[(int(row[i // 8]) >> (i % 8)) & 1 for i in range(width * bits)] for row in stream]
    assert bit == [[(int(code) >> b) & 1 for code in row for b in range(bits)] for row in codes]
