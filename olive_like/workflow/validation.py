"""pydantic's complaints in the words of the workflow's author."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from olive_like.diagnostics.nearest import did_you_mean, nearest
from olive_like.workflow.annotations import options
from olive_like.workflow.located import Loc
from olive_like.workflow.problems import shown


@dataclass(frozen=True)
class Explained:
    """One problem of a value, by its path inside of it."""

    path: Loc
    code: str
    message: str
    hint: str = ""
    at_key: bool = False


# pydantic's error type -> what the setting takes
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen": "a list",
    "iterable": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "none": "null",
    "finite": "a finite number",
    "url": "a URL",
}
_BOUNDS = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "at most {}"),
    "multiple_of": ("multiple_of", "a multiple of {}"),
}
_LENGTHS = {
    "too_short": ("min_length", "at least {} entries"),
    "too_long": ("max_length", "at most {} entries"),
    "string_too_short": ("min_length", "at least {} characters"),
    "string_too_long": ("max_length", "at most {} characters"),
    "string_pattern_mismatch": ("pattern", "text that matches {}"),
}


def explained(
    error: ValidationError, model: type[BaseModel], value: Any, extra_names: Iterable[str] = ()
) -> list[Explained]:
    """The problems of an error, those of the branches of a union merged into one."""
    groups: dict[Loc, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        groups.setdefault(_real_path(detail, value), []).append(detail)
    found = []
    for path, details in groups.items():
        structural = [d for d in details if d["type"] in ("missing", "extra_forbidden")]
        deeper = any(len(other) > len(path) and other[: len(path)] == path for other in groups)
        if deeper and not structural and path:
            continue  # another branch of the union got further: its problems say more
        found.append(_one(path, structural or details, model, value, extra_names))
    return found


def _real_path(detail: ErrorDetails, value: Any) -> Loc:
    """The location without the tags that pydantic puts in for branches of unions and the like."""
    path: list[str | int] = []
    parts = detail["loc"]
    for index, part in enumerate(parts):
        inside = isinstance(value, dict) and part in value
        if isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value):
            inside = True
        if inside:
            path.append(part)
            value = value[part]
        elif index == len(parts) - 1 and detail["type"] == "missing":
            path.append(part)
    return tuple(path)


def _one(
    path: Loc, details: list[ErrorDetails], model: type[BaseModel], value: Any, extra_names: Iterable[str]
) -> Explained:
    first = details[0]
    kind = first["type"]
    name = f"`{path[-1]}`" if path and isinstance(path[-1], str) else f"entry {int(path[-1]) + 1}" if path else "this"
    if kind == "extra_forbidden":
        names = [*names_at(model, path[:-1]), *(extra_names if len(path) == 1 else ())]
        key = str(path[-1] if path else first["loc"][-1])  # a key that a validator put in has no place
        return Explained(path, "OL101", f"unknown key `{key}`", _known(key, names), at_key=True)
    if kind == "missing":
        return Explained(path, "OL102", f"{name} is missing", _wanted(model, path))
    if kind in ("value_error", "assertion_error"):
        cause = first.get("ctx", {}).get("error")
        message, hint = _of_exception(cause) if cause is not None else (first["msg"], "")
        return Explained(path, "OL106", message, hint)
    choices = [choice for d in details for choice in _choices(d)]
    given = shown(first["input"])
    for bounds, code in ((_BOUNDS, "OL105"), (_LENGTHS, "OL105")):
        for detail in details:
            if detail["type"] in bounds:
                key, words = bounds[detail["type"]]
                limit = words.format(_number(detail.get("ctx", {}).get(key)))
                end = f", not {given}" if bounds is _BOUNDS else ""
                return Explained(path, code, f"{name} takes {limit}{end}")
    wanted = list(dict.fromkeys(filter(None, map(_type_words, details))))
    if choices:
        listed = ", ".join(choices)
        what = " or ".join([*wanted, f"one of {listed}" if len(choices) > 1 else listed])
        near = (
            nearest(str(first["input"]), [c.strip("'") for c in choices]) if isinstance(first["input"], str) else None
        )
        return Explained(path, "OL104", f"{name} takes {what}, not {given}", f"Did you mean `{near}`?" if near else "")
    if wanted:
        return Explained(path, "OL103", f"{name} takes {' or '.join(wanted)}, not {given}")
    message = first["msg"][:1].lower() + first["msg"][1:]
    return Explained(path, "OL103", f"{name}: {message}")


def _of_exception(cause: object) -> tuple[str, str]:
    """Message and hint of what a validator raised."""
    text = str(cause)
    return text[:1].lower() + text[1:] if text[1:2].islower() and " " in text else text, getattr(cause, "hint", "")


def _type_words(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind in ("literal_error", "enum"):
        return ""
    return _TYPES.get(kind.split("_")[0], "")


def _choices(detail: ErrorDetails) -> list[str]:
    if detail["type"] not in ("literal_error", "enum"):
        return []
    expected = str(detail.get("ctx", {}).get("expected", ""))
    return [part for chunk in expected.split(", ") for part in chunk.split(" or ")]


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _known(name: str, names: list[str]) -> str:
    if len(names) <= 8 or nearest(name, names):
        return did_you_mean(name, names)
    return ""


def _wanted(model: type[BaseModel], path: Loc) -> str:
    """The description of a required field."""
    for owner in _models_at(model, path[:-1]):
        info = owner.model_fields.get(str(path[-1]))
        if info is not None and info.description:
            return info.description
    return ""


def names_at(model: type[BaseModel], path: Loc) -> list[str]:
    """The keys that may stand at a path of a model's data."""
    names: dict[str, None] = {}
    for owner in _models_at(model, path):
        for name, info in owner.model_fields.items():
            names[name] = None
            alias = info.validation_alias
            for other in getattr(alias, "choices", [alias]):
                if isinstance(other, str):
                    names[other] = None
    return list(names)


def _models_at(model: type[BaseModel], path: Loc) -> list[type[BaseModel]]:
    annotations: list[Any] = [model]
    for part in path:
        following: list[Any] = []
        for annotation in annotations:
            for option in options(annotation):
                following.extend(_step(option, part))
        annotations = following
    return [
        option
        for annotation in annotations
        for option in options(annotation)
        if isinstance(option, type) and issubclass(option, BaseModel)
    ]


def _step(annotation: Any, part: str | int) -> Iterator[Any]:
    """The annotations of what stands under one key or index."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            alias = info.validation_alias
            if part in (name, alias, *getattr(alias, "choices", ())):
                yield info.annotation
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict and len(arguments) == 2:
        yield arguments[1]
    elif origin in (list, tuple, set, frozenset) and isinstance(part, int):
        yield from (argument for argument in arguments if argument is not Ellipsis)
