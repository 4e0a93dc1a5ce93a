"""Integers packed into words come out as they went in."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from olive_like.passes.quantize._pack import pack_rows, pack_zeros, unpack_rows  # noqa: E402


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(5, 64), (1, 64), (64, 1), (3, 37)])
def test_rows_of_any_shape(bits: int, shape: tuple[int, int]) -> None:
    codes = torch.randint(0, 2**bits, shape, dtype=torch.uint8)
    assert torch.equal(unpack_rows(pack_rows(codes, bits), bits, shape[1]), codes)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_zero_points_of_one_group(bits: int) -> None:
    """One column turned on its side has strides that a view of wider integers does not take."""
    zeros = torch.randint(1, 2**bits, (64, 1), dtype=torch.uint8)
    assert torch.equal(unpack_rows(pack_zeros(zeros, bits), bits, 64), (zeros - 1).T)
