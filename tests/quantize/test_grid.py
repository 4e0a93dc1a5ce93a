"""The maths of grids and packing, against loops anyone can follow."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from olive_like.passes.quantize import _grid, _pack  # noqa: E402
from olive_like.passes.quantize._grid import Spec  # noqa: E402


def _weights(rows=6, inputs=40, seed=0):
    return torch.randn(rows, inputs, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("count", [32, 40, 7])
def test_packing_is_undone_exactly(bits, count):
    codes = torch.randint(0, 2**bits, (5, count), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    words = _pack.pack_rows(codes, bits)
    assert words.dtype == torch.int32
    assert words.shape == (5, _pack.word_rows(count, bits))
    assert torch.equal(_pack.unpack_rows(words, bits, count), codes)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_packing_is_a_little_endian_stream_of_bits(bits):
    codes = torch.randint(0, 2**bits, (1, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    stream = sum(int(code) << (bits * i) for i, code in enumerate(codes[0]))
    words = _pack.pack_rows(codes, bits)[0].tolist()
    assert [word & 0xFFFFFFFF for word in words] == [(stream >> (32 * i)) & 0xFFFFFFFF for i in range(bits)]


def test_zero_points_of_all_sizes_come_back():
    zeros = torch.arange(1, 16, dtype=torch.uint8).repeat(2, 1)
    assert torch.equal(_pack.unpack_zeros(_pack.pack_zeros(zeros, 4), 4, 2), zeros)


@pytest.mark.parametrize("sym", [False, True])
@pytest.mark.parametrize("group", [8, 16, 40])
def test_rounding_to_nearest_equals_a_naive_loop(sym, group):
    weight, spec = _weights(), Spec(4, group, sym)
    scale, zero = _grid.minmax(_grid.grouped(weight, group), spec)
    rounded = _grid.round_to(weight, scale, zero, spec).dense()
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], group):
            part = weight[row, start : start + group].tolist()
            low, high = min(*part, 0.0), max(*part, 0.0)
            step = max(-low, high) * 2 / 15 if sym else max((high - low) / 15, high / 14)
            step = torch.tensor(step).half().item()
            middle = 8 if sym else min(max(round(-low / step), 1), 15)
            for offset, value in enumerate(part):
                code = min(max(round(value / step) + middle, 0), 15)
                assert rounded[row, start + offset].item() == pytest.approx((code - middle) * step, abs=1e-6)


def test_weights_of_one_sign_stay_in_reach():
    weight = _weights().abs() + 0.1
    spec = Spec(4, 8, False)
    for sign in (1, -1):
        blocks = _grid.grouped(sign * weight, 8)
        scale, zero = _grid.minmax(blocks, spec)
        gap = (_grid.fake(blocks, scale, zero, 15) - blocks).abs()
        assert (gap <= scale.unsqueeze(-1) * 0.51).all()
        assert zero.min() >= 1


def test_a_group_of_zeros_stays_zero():
    weight = torch.zeros(2, 16)
    for fit in (_grid.minmax, _grid.kquant, lambda w, s: _grid.hqq(w, s, 5, 0.7), _grid.shrunk):
        spec = Spec(4, 8, False)
        layer = _grid.round_to(weight, *fit(_grid.grouped(weight, 8), spec), spec)
        assert torch.equal(layer.dense(), weight)


@pytest.mark.parametrize("sym", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_searched_grids_lose_less_than_the_range(bits, sym):
    weight, spec = _weights(64, 256, seed=2), Spec(bits, 32, sym)
    blocks = _grid.grouped(weight, 32)
    size = weight.square().mean(-1, keepdim=True).sqrt() + weight.abs()

    def loss(grid, norm=2.0, by=1.0):
        return ((_grid.round_to(weight, *grid, spec).dense() - weight).abs().pow(norm) * by).sum().item()

    plain = _grid.minmax(blocks, spec)
    assert loss(_grid.kquant(blocks, spec), by=size) < 0.97 * loss(plain, by=size)
    assert loss(_grid.shrunk(blocks, spec)) < 0.99 * loss(plain)
    assert loss(_grid.hqq(blocks, spec, 20, 0.7), norm=0.7) < loss(plain, norm=0.7)


def test_hqq_forgives_no_weight_that_the_grid_does_not_reach():
    weight, spec = _weights(64, 256, seed=4).pow(3), Spec(4, 32, False)  # a few are far larger than the others
    blocks = _grid.grouped(weight, 32)
    scale, zero = (part.unsqueeze(-1) for part in _grid.hqq(blocks, spec, 20, 0.7))
    place = blocks / scale + zero
    assert place.min() >= -0.51
    assert place.max() <= 15.51


def test_a_smaller_last_group_has_its_own_grid():
    weight = _weights(3, 40)
    spec = Spec(4, 32, False)
    layer = _grid.round_to(weight, *_grid.minmax(_grid.grouped(weight, 32), spec), spec)
    alone = weight[:, 32:]
    small = Spec(4, 8, False)
    tail = _grid.round_to(alone, *_grid.minmax(_grid.grouped(alone, 8), small), small)
    assert layer.scales.shape == (3, 2)
    assert torch.equal(layer.dense()[:, 32:], tail.dense())
