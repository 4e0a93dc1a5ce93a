"""What was measured, model beside model, with the change against the input model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from olive_like.metrics.statistics import is_noise

SUFFIX = ".metrics"


def comparison(passes: Sequence[Mapping[str, Any]], base: str = "input_model") -> list[tuple[str, ...]]:
    """A table: one row per measured model, one column per value; empty where nothing was measured."""
    measured = {p["name"].removesuffix(SUFFIX): p["metrics"] for p in passes if p["name"].endswith(SUFFIX)}
    names = list(dict.fromkeys(name for values in measured.values() for name in values))
    if not names:
        return []
    first = measured.get(base, {})
    rows = [("model", *map(_short, names))]
    for model, values in measured.items():
        rows.append((model, *(_cell(values.get(name), first.get(name) if model != base else None)
                              for name in names)))  # fmt: skip
    return rows


def number(entry: Any) -> float | None:
    """The value of a metric, with or without a unit beside it."""
    value = entry.get("value") if isinstance(entry, Mapping) else entry
    return float(value) if isinstance(value, (int, float)) else None


def _short(name: str) -> str:
    """`perplexity-perplexity` is `perplexity`."""
    half = len(name) // 2
    return name[:half] if name[half : half + 1] == "-" and name[:half] == name[half + 1 :] else name


def _cell(entry: Any, before: Any) -> str:
    value, old = number(entry), number(before)
    if value is None:
        return ""
    text = _shown(value, entry)
    if old is None or old == 0:
        return text
    noise = ", noise" if value != old and is_noise(value, old, _spread(entry), _spread(before)) else ""
    return f"{text} ({100 * (value - old) / abs(old):+.1f} %{noise})"


def _spread(entry: Any) -> float:
    return float(entry.get("spread") or 0.0) if isinstance(entry, Mapping) else 0.0


def _shown(value: float, entry: Any) -> str:
    unit = entry.get("unit", "") if isinstance(entry, Mapping) else ""
    if unit == "bytes":
        from olive_like.engine.summary import size

        return size(value)
    return f"{value:.4g}{' ' + unit if unit else ''}"
