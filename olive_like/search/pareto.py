"""Which trials no other beats in everything."""

from __future__ import annotations

from collections.abc import Sequence


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is nowhere worse and somewhere better; smaller is better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def front(costs: Sequence[Sequence[float]]) -> list[int]:
    """Numbers of those that nothing dominates; of equal ones the first."""
    chosen: list[int] = []
    for index, cost in enumerate(costs):
        beaten = any(dominates(other, cost) for other in costs)
        twin = any(tuple(costs[i]) == tuple(cost) for i in chosen)
        if not beaten and not twin:
            chosen.append(index)
    return chosen
