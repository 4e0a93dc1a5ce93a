"""Slices, samples, and rows held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.data.load import load
from olive_like.data.splits import hold_out, take

SPLITS = {"train": list(range(100)), "test": list(range(100, 110))}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("train", list(range(100))),
        ("train[:3]", [0, 1, 2]),
        ("train[97:]", [97, 98, 99]),
        ("train[-2:]", [98, 99]),
        ("train[10%:12%]", [10, 11]),
        ("train[:50%]+test[:1]", [*range(50), 100]),
        ("train[95:200]", list(range(95, 100))),
    ],
)
def test_slices(written: str, expected: list[int]) -> None:
    assert take(SPLITS, written) == expected


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("dev", "no split 'dev'; there are: train, test"),
        ("train[", "is no split"),
        ("train[a:b]", "neither a number nor a percentage"),
        ("train[5:5]", "has no rows"),
    ],
)
def test_bad_slices(written: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        take(SPLITS, written)


@given(st.integers(2, 300), st.floats(0.05, 0.6), st.integers(0, 9))
def test_holding_out_loses_and_repeats_nothing(count: int, fraction: float, seed: int) -> None:
    rows = [{"i": i} for i in range(count)]
    train, held = hold_out(rows, fraction, seed)
    assert sorted(r["i"] for r in train + held) == list(range(count))
    assert held
    assert train
    assert (train, held) == hold_out(rows, fraction, seed)


def test_holding_out_is_alike_in_every_class() -> None:
    rows = [{"label": "rare" if i % 10 == 0 else "common"} for i in range(200)]
    _, held = hold_out(rows, 0.2, 0, "label")
    assert sum(r["label"] == "rare" for r in held) == 4
    assert len(held) == 40


def test_shuffle_and_samples_are_seeded() -> None:
    rows = [{"i": i} for i in range(50)]
    config = DataConfig(rows=rows, shuffle=True, max_samples=10)
    first = load(config, seed=1).train
    assert first == load(config, seed=1).train
    assert first != load(config, seed=2).train
    assert len(first) == 10
    assert load(DataConfig(rows=rows, max_samples=3)).train == rows[:3]


def test_only_the_rows_that_are_meant_are_read_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows as of a local file, whatever is held out, shuffled and sampled."""
    rows = [{"i": i, "label": "rare" if i % 10 == 0 else "common"} for i in range(200)]
    source = datasets.Dataset.from_list(rows)
    read: list[int] = []
    select = datasets.Dataset.select

    def counted(self: Any, numbers: list[int], **options: Any) -> Any:
        read.append(len(numbers))
        return select(self, numbers, **options)

    monkeypatch.setattr(datasets.Dataset, "select", counted)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: source)
    for settings in (
        {"max_samples": 5},
        {"max_samples": 5, "shuffle": True},
        {"max_samples": 50, "eval_fraction": 0.2, "stratify_by": "label"},
        {"max_samples": 50, "eval_fraction": 0.2, "shuffle": True},
        {"max_samples": 5, "eval_split": "train"},
    ):
        read.clear()
        assert load(DataConfig(source="some/rows", **settings)) == load(DataConfig(rows=rows, **settings))
        assert max(read) == settings["max_samples"]
