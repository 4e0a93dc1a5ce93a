"""Which rows: splits, slices as the hub writes them, samples, and rows held out for evaluation."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from olive_like.data.config import SPLIT
from olive_like.data.errors import DataError
from olive_like.data.read import Row

T = TypeVar("T")


def take(splits: dict[str, Sequence[T]], written: str) -> list[T]:
    """The rows of `train`, `train[:4096]`, `train[10%:20%]`, `train+test` …"""
    found: list[T] = []
    for part in written.split("+"):
        match = SPLIT.match(part)
        if match is None:
            raise DataError(f"{part!r} is no split", "Write `train`, `train[:100]`, `train[10%:20%]` or `a+b`.")
        name = match["name"]
        if name not in splits:
            raise DataError(f"there is no split {name!r}; there are: {', '.join(splits)}")
        rows = splits[name]
        start = _edge(match["from"], len(rows), 0, part)
        stop = _edge(match["to"], len(rows), len(rows), part)
        found.extend(rows[start:stop])
    if not found:
        raise DataError(f"the split {written!r} has no rows", f"{_sizes(splits)}.")
    return found


def sample(rows: list[T], count: int | None, shuffle: bool, seed: int) -> list[T]:
    """At most `count` rows, in random order if that is asked for."""
    if shuffle:
        rows = list(rows)
        random.Random(seed).shuffle(rows)
    return rows if count is None else rows[:count]


def hold_out(rows: list[Row], fraction: float, seed: int, by: str | None = None) -> tuple[list[Row], list[Row]]:
    """Two parts: to train on, and to evaluate on; each value of column `by` is held out alike."""
    for row in rows if by is not None else ():
        if by not in row:
            raise no_column(by, list(row))
    train, held = hold_out_numbers(len(rows), [row[by] for row in rows] if by is not None else None, fraction, seed)
    return [rows[i] for i in train], [rows[i] for i in held]


def no_column(by: str | None, there: Sequence[str]) -> DataError:
    return DataError(f"there is no column {by!r} to stratify by; the columns are: {', '.join(there)}")


def hold_out_numbers(
    count: int, values: Sequence[Any] | None, fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """The same by the rows' numbers; `values` are those of the column that is to be held out alike."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index in range(count):
        groups[str(values[index]) if values is not None else ""].append(index)
    held: set[int] = set()
    generator = random.Random(seed)
    for name in sorted(groups):
        members = groups[name]
        generator.shuffle(members)
        held.update(members[: round(len(members) * fraction)])
    if not held:
        held = {generator.randrange(count)}
    if len(held) == count:
        raise DataError(
            f"{fraction:g} of the {count} rows cannot be held out: none is left to train on",
            "Leave `eval_fraction` out, or bring more rows.",
        )
    return [i for i in range(count) if i not in held], sorted(held)


def _edge(text: str | None, count: int, default: int, part: str) -> int:
    text = (text or "").strip()
    if not text:
        return default
    try:
        value = round(float(text[:-1]) / 100 * count) if text.endswith("%") else int(text.replace("_", ""))
    except ValueError:
        raise DataError(f"{part!r} is no split: {text!r} is neither a number nor a percentage") from None
    return min(max(value + count if value < 0 else value, 0), count)


def _sizes(splits: dict[str, Sequence[T]]) -> str:
    return "There are " + ", ".join(f"{len(rows):,} in {name}" for name, rows in splits.items())
