"""Settings that are left open: a space to search in place of a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from olive_like.workflow.located import Loc

_SHORT = {
    "choice": frozenset({"choice"}),
    "int": frozenset({"int", "log", "step"}),
    "float": frozenset({"float", "log", "step"}),
}
_TYPES = {
    "choice": "choice",
    "categorical": "choice",
    "boolean": "choice",
    "int": "int",
    "float": "float",
    "uniform": "float",
    "loguniform": "float",
}
_LONG = frozenset({"type", "low", "high", "min", "max", "log", "step", "values", "choices", "support"})
_VALUES = ("values", "choices", "support")
CANDIDATE_KEYS = ("choice", "int", "float", *_VALUES)


class BadSpace(ValueError):
    """A space that makes no sense."""


class Space(NamedTuple):
    """What a setting may be."""

    kind: Literal["choice", "int", "float"]
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None

    @property
    def first(self) -> Any:
        """The point at which a search begins, and what stands for the setting where nothing is searched."""
        return self.values[0] if self.kind == "choice" else self.low

    def candidates(self) -> tuple[Any, ...]:
        """Values that must all be acceptable for the space to be."""
        return self.values if self.kind == "choice" else (self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        """The short form that a file would have."""
        if self.kind == "choice":
            return {"choice": list(self.values)}
        space: dict[str, Any] = {self.kind: [self.low, self.high]}
        if self.log:
            space["log"] = True
        if self.step is not None:
            space["step"] = self.step
        return space


def is_space(value: Any) -> bool:
    """Whether a value is written as a space: `{choice: [...]}`, `{int: [a, b]}`, `{type: float, low: …}`."""
    if not isinstance(value, dict) or not value:
        return False
    keys = set(value)
    for name, allowed in _SHORT.items():
        if name in keys and keys <= allowed and isinstance(value[name], (list, tuple)):
            return True
    kind = value.get("type")
    return (
        isinstance(kind, str)
        and kind.lower() in _TYPES
        and keys <= _LONG
        and (kind.lower() == "boolean" or len(keys) > 1)
    )


def parse_space(value: Mapping[str, Any]) -> Space:
    """The space that a value describes; BadSpace says why it is none."""
    if "type" in value:
        kind = _TYPES[str(value["type"]).lower()]
        if str(value["type"]).lower() == "boolean":
            return Space("choice", (True, False))
        if kind == "choice":
            return _choice(next((value[key] for key in _VALUES if key in value), None))
        low, high = value.get("low", value.get("min")), value.get("high", value.get("max"))
        log = value.get("log", str(value["type"]).lower() == "loguniform")
        return _range(kind, low, high, log, value.get("step"))
    if "choice" in value:
        return _choice(value["choice"])
    kind = "int" if "int" in value else "float"
    bounds = value[kind]
    if len(bounds) != 2:
        raise BadSpace(f"`{kind}` takes two bounds, [low, high], not {len(bounds)}")
    return _range(kind, bounds[0], bounds[1], value.get("log", False), value.get("step"))


def _choice(values: Any) -> Space:
    if not isinstance(values, (list, tuple)) or not values:
        raise BadSpace("a choice needs a list of at least one value")
    return Space("choice", tuple(values))


def _range(kind: str, low: Any, high: Any, log: Any, step: Any) -> Space:
    number = (int,) if kind == "int" else (int, float)
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, bool) or not isinstance(bound, number):
            raise BadSpace(f"the {name} bound must be {'a whole number' if kind == 'int' else 'a number'}")
    if not isinstance(log, bool):
        raise BadSpace("`log` is true or false")
    if low > high:
        raise BadSpace(f"the low bound {low:g} is above the high bound {high:g}")
    if log and low <= 0:
        raise BadSpace("a space with `log: true` must begin above 0")
    if step is not None and (isinstance(step, bool) or not isinstance(step, number) or step <= 0):
        raise BadSpace(f"`step` must be a {'whole ' if kind == 'int' else ''}number above 0")
    if step is not None and log:
        raise BadSpace("`step` and `log` do not go together")
    if kind == "int":
        return Space("int", low=low, high=high, log=log, step=step)
    return Space("float", low=float(low), high=float(high), log=log, step=step)


def find_spaces(settings: Any, path: Loc = ()) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    """Every space in a pass's settings, by its path."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            if is_space(value):
                yield (*path, key), value
            else:
                yield from find_spaces(value, (*path, key))


def with_value(settings: Mapping[str, Any], path: Loc, value: Any) -> dict[str, Any]:
    """A copy of the settings with one value replaced; what is not on the way is shared."""
    copy = dict(settings)
    key = str(path[0])
    copy[key] = value if len(path) == 1 else with_value(settings[key], path[1:], value)
    return copy


def without(settings: Mapping[str, Any], path: Loc) -> dict[str, Any]:
    """A copy of the settings with one value left out."""
    key = str(path[0])
    if len(path) == 1:
        return {name: value for name, value in settings.items() if name != key}
    return {**settings, key: without(settings[key], path[1:])}
