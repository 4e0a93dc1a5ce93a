"""GPTQ's step: what it minimises, and against a plain column-by-column reference."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.heavy
torch = pytest.importorskip("torch")

from olive_like.errors import PassError  # noqa: E402
from olive_like.passes.quantize import _grid  # noqa: E402
from olive_like.passes.quantize._gptq_solve import Curvature, inverse_factor, solve  # noqa: E402
from olive_like.passes.quantize._grid import Spec  # noqa: E402


def _problem(inputs=192, rows=48, seed=0):
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(inputs, inputs, generator=draw) / inputs**0.5
    text = torch.randn(2000, inputs, generator=draw) @ mixing
    return torch.randn(rows, inputs, generator=draw) * 0.02, text


def _loss(weight, rounded, text):
    return (text @ (weight - rounded).T).square().mean().item()


def test_moments_equal_the_plain_product():
    _, text = _problem()
    moments = Curvature(192, "cpu")
    moments.add(text[:700])
    moments.add(text[700:])
    assert torch.allclose(moments.mean(), text.T @ text / 2000, atol=1e-4)


@pytest.mark.parametrize("options", [{"order": True}, {"order": False}, {"order": True, "regroup": True}])
@pytest.mark.parametrize("sym", [False, True])
def test_correlated_inputs_lose_far_less_than_by_rounding(options, sym):
    weight, text = _problem()
    spec = Spec(4, 64, sym)
    curvature = text.T @ text / len(text)
    plain = _grid.round_to(weight, *_grid.minmax(_grid.grouped(weight, 64), spec), spec).dense()
    solved = solve(weight, curvature, spec, damp=0.01, **options)
    assert _loss(weight, solved.dense(), text) < 0.5 * _loss(weight, plain, text)


def test_equals_the_textbook_column_by_column():
    weight, text = _problem(inputs=160, rows=8)  # more than one block of columns
    spec = Spec(4, 32, False)
    curvature = text.double().T @ text.double() / len(text)
    solved = solve(weight.double(), curvature, spec, damp=0.01, order=False, search=False)
    damped = curvature + torch.eye(160) * 0.01 * curvature.diagonal().mean()
    scale, zero = _grid.minmax(_grid.grouped(weight.double(), 32), spec)
    work, inverse, codes = weight.double().clone(), torch.linalg.inv(damped), []
    for column in range(160):
        group = column // 32
        step, middle = scale[:, group].double(), zero[:, group].double()
        code = ((work[:, column] / step).round() + middle).clamp(0, 15)
        error = (work[:, column] - (code - middle) * step) / inverse[column, column]
        work -= torch.outer(error, inverse[column])
        # What is rounded is settled: the inverse for the rest is that without this column.
        inverse -= torch.outer(inverse[:, column], inverse[column]) / inverse[column, column]
        inverse[column, column] = 1.0
        codes.append(code)
    assert torch.equal(solved.codes.double(), torch.stack(codes, 1))


def test_order_of_columns_is_undone():
    weight, text = _problem()
    text = text * torch.linspace(0.1, 3, 192)
    curvature = text.T @ text / len(text)
    solved = solve(weight, curvature, Spec(8, 64, False), damp=0.01, order=True, regroup=True)
    assert torch.allclose(solved.dense(), weight, atol=2e-3)
    assert sorted(solved.g_idx.tolist()) == sorted(i // 64 for i in range(192))
    assert solved.g_idx.tolist() != [i // 64 for i in range(192)]


def test_a_smaller_last_group():
    weight, text = _problem(inputs=150)
    curvature = text.T @ text / len(text)
    spec = Spec(4, 64, False)
    plain = _grid.round_to(weight, *_grid.minmax(_grid.grouped(weight, 64), spec), spec).dense()
    solved = solve(weight, curvature, spec, damp=0.01, order=True).dense()
    assert _loss(weight, solved, text) < 0.6 * _loss(weight, plain, text)


def test_inputs_never_seen_do_not_break_it():
    weight, text = _problem()
    text[:, 5] = 0
    curvature = text.T @ text / len(text)
    solved = solve(weight, curvature, Spec(4, 64, False), damp=0.01, order=True)
    assert torch.isfinite(solved.dense()).all()


def test_too_little_damping_is_raised_until_it_works():
    one = torch.ones(16, 16)  # of rank one
    assert torch.isfinite(inverse_factor(one, 1e-9, 0.01, "x")).all()
    with pytest.raises(PassError, match="NaN"):
        inverse_factor(one * float("nan"), 0.01, 0.01, "x")
