"""Why a pass would run: a closed set of reasons, each with what was and what is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Why(StrEnum):
    """Every reason there is."""

    NEVER_RUN = "never_run"
    SETTING = "setting_changed"
    FILE = "file_changed"
    CODE = "code_changed"
    INPUT = "input_changed"
    DATA = "data_changed"
    UPSTREAM = "upstream_runs"
    PASS_VERSION = "pass_version_changed"
    PASS = "pass_changed"
    TOOL = "library_changed"
    SEED = "seed_changed"
    SYSTEM = "system_changed"
    SCHEMA = "key_schema_changed"
    SECRET = "secret_changed"
    GONE = "result_gone"
    ASKED = "asked_for"


@dataclass(frozen=True)
class Reason:
    code: Why
    field: str = ""
    old: Any = None
    new: Any = None

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code.value, "field": self.field, "old": self.old, "new": self.new}

    def __str__(self) -> str:
        match self.code:
            case Why.NEVER_RUN:
                return "it has not run before"
            case Why.UPSTREAM:
                return f"{self.field} waits for {self.new}, which runs first"
            case Why.GONE:
                return "its result was removed from the cache"
            case Why.ASKED:
                return "it was asked to be made again"
            case Why.SECRET:
                return "a secret in its settings changed (what it was is not kept)"
            case _:
                words = _WORDS[self.code].format(field=self.field)
                return f"{words}: {_show(self.old)} → {_show(self.new)}"


_WORDS = {
    Why.SETTING: "the setting {field} changed",
    Why.FILE: "the content of {field} changed",
    Why.CODE: "the code of the pass changed",
    Why.INPUT: "the input {field} changed",
    Why.DATA: "the data of {field} changed",
    Why.PASS_VERSION: "the pass itself is a newer version",
    Why.PASS: "another pass type",
    Why.TOOL: "the library {field} changed",
    Why.SEED: "the seed changed",
    Why.SYSTEM: "the system's {field} changed",
    Why.SCHEMA: "keys are made in a new way",
}

# Where in the document a field stands -> what its change is called. The first that fits counts.
_PLACES: tuple[tuple[str, Why], ...] = (
    ("schema", Why.SCHEMA),
    ("pass.name", Why.PASS),
    ("pass.version", Why.PASS_VERSION),
    ("pass.code", Why.CODE),
    ("settings.", Why.SETTING),
    ("files.", Why.FILE),
    ("tools.", Why.TOOL),
    ("seed", Why.SEED),
    ("system.", Why.SYSTEM),
    ("inputs", Why.INPUT),
    ("data.", Why.DATA),
)


def changes(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    names: Mapping[str, str] | None = None,
    hide: Callable[[Any], Any] = lambda value: value,
) -> list[Reason]:
    """What differs between two key documents, field by field.

    `names` says how a place is called for a person: `inputs[0]` is `lora`, `files.script` is `score.py`.
    `hide` takes secrets out of a value: records have none, and so the same setting looks different at first.
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    reasons = []
    for place in dict.fromkeys([*after, *before]):
        was, is_ = before.get(place), after.get(place)
        if was == is_ and type(was) is type(is_):
            continue
        was, is_ = hide(was), hide(is_)
        if was == is_ and type(was) is type(is_):
            continue
        why, field = _classify(place)
        if why in (Why.INPUT, Why.DATA, Why.FILE, Why.CODE) and place.endswith(".made_by"):
            continue  # an awaited input: said as `upstream_runs` by the planner
        if why in (Why.INPUT, Why.DATA) and _said_elsewhere(place, before, after):
            continue
        reasons.append(Reason(why, _called(field, names or {}), was, is_))
    return reasons


def _said_elsewhere(place: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """A digest that is not known yet (the planner says so), and the kind of an input that came or went as a whole."""
    stem, _, part = place.rpartition(".")
    if part == "digest":
        return f"{stem}.made_by" in after
    return part == "kind" and (place in before) is not (place in after) and f"{stem}.made_by" not in after


def _classify(place: str) -> tuple[Why, str]:
    for prefix, why in _PLACES:
        if place.startswith(prefix):
            rest = place.removeprefix(prefix) if prefix.endswith(".") else place
            if why in (Why.FILE, Why.DATA, Why.INPUT):
                for tail in (".digest", ".suffix", ".kind"):
                    rest = rest.removesuffix(tail)
            return why, rest
    return Why.SETTING, place


def _called(field: str, names: Mapping[str, str]) -> str:
    return names.get(field, field)


def _flat(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{where}[{index}]")
    else:
        yield where, value


def _show(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return "unset" if value is None else repr(value)
