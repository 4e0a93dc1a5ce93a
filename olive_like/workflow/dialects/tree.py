"""Small moves on located trees that several translations share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from olive_like.workflow.dialects.report import Report, at_key
from olive_like.workflow.located import LocatedDict


def located(value: Any) -> LocatedDict | None:
    """The value if it is a mapping; anything else is left to the schema to complain about."""
    return value if isinstance(value, LocatedDict) else None


def entries(value: Any) -> Iterator[tuple[str, LocatedDict]]:
    """The entries of a mapping that are mappings themselves."""
    if isinstance(value, LocatedDict):
        for key, item in list(value.items()):
            if isinstance(item, LocatedDict):
                yield key, item


def lift(holder: LocatedDict, key: str, report: Report, field: str) -> None:
    """Put what stands under `key` one level up; what is written in both places is an error."""
    if holder.get(key, ...) is None:
        take(holder, key)
    while isinstance(holder.get(key), LocatedDict):
        inner, mark = holder[key], at_key(holder, key)
        take(holder, key)
        for name in list(inner):
            if name not in holder:
                inner.move(name, holder)
            elif holder[name] != inner[name]:
                report.add(
                    "OL311",
                    f"{name} is written twice, here and under {key}",
                    at_key(holder, name) or mark,
                    f"{field}.{name}".lstrip("."),
                    "Keep one of them.",
                )


def rename(holder: LocatedDict, names: Mapping[str, str]) -> None:
    """Give keys their own names here, where the target is still free."""
    for old, new in names.items():
        if old in holder and new not in holder:
            holder.move(old, holder, new)


def take(holder: LocatedDict, key: str) -> Any:
    """Remove a key, places included, and return its value."""
    holder.keys_at.pop(key, None)
    holder.values_at.pop(key, None)
    return holder.pop(key, None)


def without_effect(
    holder: LocatedDict, keys: Iterable[str] | Mapping[str, str], report: Report, field: str, why: str = ""
) -> None:
    """Accept settings that cannot change anything here, and say so."""
    for key in [key for key in keys if key in holder]:
        reason = keys[key] if isinstance(keys, Mapping) else why
        report.add("OL351", f"{key} has no effect here: {reason}", at_key(holder, key), f"{field}.{key}".lstrip("."))
        take(holder, key)
