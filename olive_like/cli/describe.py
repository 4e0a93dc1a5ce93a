"""Settings of passes and systems as a table, drawn from their classes."""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

_WORDS = {int: "int", float: "number", str: "text", bool: "true | false", Path: "path", type(None): "null", Any: "any"}
_DEEPEST = 2  # models inside of models that are written out


class Setting(NamedTuple):
    """One row of the table."""

    name: str
    type: str
    default: str
    description: str


def settings_of(model: type[BaseModel], prefix: str = "", depth: int = 0) -> Iterator[Setting]:
    """The settings of a model, those of a model inside of it after it, by dotted names."""
    for name, info in model.model_fields.items():
        required = info.is_required()
        default = "required" if required else _value(info.get_default(call_default_factory=True))
        yield Setting(prefix + name, type_words(info.annotation), default, info.description or "")
        inner = _model_in(info.annotation)
        if inner is not None and inner.__name__ != "DataConfig" and depth < _DEEPEST:
            yield from settings_of(inner, f"{prefix}{name}.", depth + 1)


def table(settings: list[Setting], width: int = 100) -> str:
    """The rows with their descriptions below."""
    if not settings:
        return "  none"
    lines = []
    for setting in settings:
        lines.append(f"  {setting.name}: {setting.type} = {setting.default}".replace(" = required", " (required)"))
        lines.extend(textwrap.wrap(setting.description, width, initial_indent="      ", subsequent_indent="      "))
    return "\n".join(lines)


def type_words(annotation: Any) -> str:
    """A type as a person writes it: `int | null`, `'int8' | 'uint8'`, `list of text`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(arguments[0])
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_words(argument) for argument in arguments))
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin in (list, set, frozenset):
        return f"list of {type_words(arguments[0])}"
    if origin is tuple:
        return f"list of {type_words(arguments[0])}" if arguments else "list"
    if origin is dict:
        return f"mapping to {type_words(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(str(member.value) for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "data set" if annotation.__name__ == "DataConfig" else "mapping"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _value(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, BaseModel):
        return "{…}" if value.model_fields_set else "{}"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value) if value != "" else '""'
