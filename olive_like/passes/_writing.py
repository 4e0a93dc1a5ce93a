"""How fast two models write text: a figure for the summary, and never for an artifact."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from olive_like.passes.base import Context

Write = Callable[[int], object]
"""Writes so many tokens."""

SMALL = 700 << 20  # bytes of a model that is measured without being asked: both are in memory for it
_TURNS = 3
_SECONDS = 0.4  # of each turn, about
_MOST_TOKENS = 32


def wanted(setting: bool | None, size: int, context: Context) -> bool:
    """Whether to measure a model of so many bytes: as the setting says, and unset where the model is not large."""
    if setting is None and size > SMALL:
        context.note(
            f"tokens per second were not measured: the model has {size:,} bytes, which would all be in memory; "
            "`measure_speed: true` measures at any size when the pass runs anew"
        )
        return False
    return setting is not False


def tell(before: Write, after: Write, context: Context) -> None:
    """Measure both and put the tokens per second into the record and the summary."""
    old, new = _rates((before, after))
    context.metric("tokens_per_second_before", round(old, 2))
    context.metric("tokens_per_second_after", round(new, 2))
    context.note(f"writes {new:.1f} tokens/s, {old:.1f} before ({new / old:.2f} times as fast)")


def _rates(models: Sequence[Write]) -> list[float]:
    """Medians of short turns, the models by turns, so that what else the machine does meets both."""
    counts = []
    for write in models:
        write(1)
        counts.append(max(2, min(_MOST_TOKENS, round(_SECONDS / _seconds(write, 2) * 2))))
    rates: list[list[float]] = [[] for _ in models]
    for _ in range(_TURNS):
        for write, count, found in zip(models, counts, rates, strict=True):
            found.append(count / _seconds(write, count))
    return [median(found) for found in rates]


def _seconds(write: Write, tokens: int) -> float:
    start = time.perf_counter()
    write(tokens)
    return time.perf_counter() - start
