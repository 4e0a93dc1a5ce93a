"""A mean over all places, or any other ratio of two sums, with how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence


def ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float | None]:
    """The sum of the first numbers by that of the second, and its standard error with pairs as what is independent."""
    weight = sum(size for _, size in pairs)
    value = sum(total for total, _ in pairs) / weight
    if len(pairs) < 2:
        return value, None
    return value, math.sqrt(sum((total - value * size) ** 2 for total, size in pairs)) / weight
