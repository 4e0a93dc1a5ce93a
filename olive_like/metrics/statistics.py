"""Means with their spread, and whether a difference is more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def half_width(samples: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean."""
    return 1.96 * stdev(samples) / math.sqrt(len(samples)) if len(samples) > 1 else math.inf


def is_tight(samples: Sequence[float], part: float) -> bool:
    """Whether the mean is known to within a part of itself."""
    return len(samples) > 1 and half_width(samples) <= part * fmean(samples)


def median_half_width(samples: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the median, by ranks: a few outliers do not widen it."""
    if len(samples) < 6:  # below this no two ranks hold it with that certainty
        return math.inf
    ordered, count = sorted(samples), len(samples)
    reach = 0.98 * math.sqrt(count)
    low, high = max(0, math.floor(count / 2 - reach)), min(count - 1, math.ceil(count / 2 + reach))
    return (ordered[high] - ordered[low]) / 2


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value below which so many percent lie, interpolated between neighbours."""
    ordered = sorted(samples)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summarise(samples: Sequence[float]) -> dict[str, float]:
    """All statistics by Olive's names."""
    points = {"p50": 50, "p75": 75, "p90": 90, "p95": 95, "p99": 99, "p999": 99.9}
    return {
        "avg": fmean(samples),
        "max": max(samples),
        "min": min(samples),
        **{name: percentile(samples, percent) for name, percent in points.items()},
    }


def ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float | None]:
    """The sum of the first numbers by that of the second, and its standard error with pairs as what is independent."""
    weight = sum(size for _, size in pairs)
    value = sum(total for total, _ in pairs) / weight
    if len(pairs) < 2:
        return value, None
    return value, math.sqrt(sum((total - value * size) ** 2 for total, size in pairs)) / weight


def mean(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and its standard error."""
    return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def is_noise(one: float, other: float, spread_one: float | None, spread_other: float | None) -> bool:
    """Whether two values, each with its standard error, differ by less than chance explains in 19 of 20 cases."""
    return abs(one - other) <= 1.96 * math.hypot(spread_one or 0.0, spread_other or 0.0)
