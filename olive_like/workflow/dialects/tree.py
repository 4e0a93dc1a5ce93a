"""Small moves on located trees that several translations share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from olive_like.workflow.dialects.report import Report, at_key
from olive_like.workflow.located import LocatedDict, LocatedList


def entries(section: Any) -> list[tuple[str, LocatedDict]]:
    """The entries of a section that are mappings, by name; it is a mapping itself, or a list of entries with names."""
    if isinstance(section, LocatedList):
        named = [(str(item.get("name", index)), item) for index, item in enumerate(section) if isinstance(item, dict)]
    else:
        named = list(section.items()) if isinstance(section, LocatedDict) else []
    return [(name, item) for name, item in named if isinstance(item, LocatedDict)]


def as_mapping(tree: LocatedDict, key: str) -> None:
    """Make a mapping of a section that is a list, where every entry has a name of its own."""
    section = tree.get(key)
    if not isinstance(section, LocatedList):
        return
    named = {item["name"]: item for item in section if isinstance(item, LocatedDict) and _is_name(item.get("name"))}
    if len(named) < len(section):
        return  # the schema says what is wrong
    made = LocatedDict(mark=section.mark)
    for name, item in named.items():
        made.put(name, item, at_key(item, "name"), item.mark)
    tree.put(key, made, at_key(tree, key), section.mark)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


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


def without_effect(holder: LocatedDict, reasons: Mapping[str, str], report: Report, field: str) -> None:
    """Accept settings that cannot change anything here, and say why."""
    for key in [key for key in reasons if key in holder]:
        text = f"{key} has no effect here: {reasons[key]}"
        report.add("OL351", text, at_key(holder, key), f"{field}.{key}".lstrip("."))
        take(holder, key)
