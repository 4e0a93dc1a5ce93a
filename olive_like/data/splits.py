"""Which rows: splits, slices as the hub writes them, samples, and rows held out for evaluation."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

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


def sample(rows: list[Row], count: int | None, shuffle: bool, seed: int) -> list[Row]:
    """At most `count` rows, in random order if that is asked for."""
    if shuffle:
        rows = list(rows)
        random.Random(seed).shuffle(rows)
    return rows if count is None else rows[:count]


def hold_out(rows: list[Row], fraction: float, seed: int, by: str | None = None) -> tuple[list[Row], list[Row]]:
    """Two parts: to train on, and to evaluate on; each value of column `by` is held out alike."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if by is not None and by not in row:
            raise DataError(f"there is no column {by!r} to stratify by; the columns are: {', '.join(row)}")
        groups[str(row[by]) if by is not None else ""].append(index)
    held: set[int] = set()
    generator = random.Random(seed)
    for name in sorted(groups):
        members = groups[name]
        generator.shuffle(members)
        held.update(members[: round(len(members) * fraction)])
    if not held:
        held = {generator.randrange(len(rows))}
    if len(held) == len(rows):
        raise DataError(
            f"{fraction:g} of the {len(rows)} rows cannot be held out: none is left to train on",
            "Leave `eval_fraction` out, or bring more rows.",
        )
    return [r for i, r in enumerate(rows) if i not in held], [r for i, r in enumerate(rows) if i in held]


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
