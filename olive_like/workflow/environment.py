"""`${NAME:-default}` in the settings that allow it: those that hold a path, or the name of a model or of data."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from olive_like.marks import FileMark, NameOrFileMark
from olive_like.workflow.annotations import options
from olive_like.workflow.located import Loc

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Expands:
    """Marks a setting in which environment variables are expanded, though it is not a file's."""


class Unset(LookupError):
    """A variable without a value and without a default."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def expand(text: str) -> str:
    """The text with its variables replaced; Unset if one has neither value nor default."""

    def value_of(match: re.Match[str]) -> str:
        name, default = match.groups()
        value = os.environ.get(name) or default
        if value is None:
            raise Unset(name)
        return value

    return _REFERENCE.sub(value_of, text)


def expand_settings(model: type[BaseModel], settings: Any, on_unset: Callable[[Loc, str], None], path: Loc = ()) -> Any:
    """The settings of a model with the variables in those fields expanded that allow it, also of models inside."""
    if not isinstance(settings, dict) or not _has_reference(settings):
        return settings
    expanded = dict(settings)
    for name, info in model.model_fields.items():
        for key in (name, info.validation_alias, *getattr(info.validation_alias, "choices", ())):
            if not isinstance(key, str) or key not in expanded:
                continue
            if _allows(info.metadata, info.annotation):
                expanded[key] = _expanded(expanded[key], on_unset, (*path, key))
            else:
                expanded[key] = _inside(info.annotation, expanded[key], on_unset, (*path, key))
    return expanded


def _expanded(value: Any, on_unset: Callable[[Loc, str], None], path: Loc) -> Any:
    if isinstance(value, str) and "${" in value:
        try:
            return expand(value)
        except Unset as error:
            on_unset(path, error.name)
            return value
    if isinstance(value, list):
        return [_expanded(item, on_unset, (*path, index)) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _expanded(item, on_unset, (*path, name)) for name, item in value.items()}
    return value


def _inside(annotation: Any, value: Any, on_unset: Callable[[Loc, str], None], path: Loc) -> Any:
    """The value of a field that holds models, or lists or mappings of them."""
    for option in options(annotation):
        arguments = get_args(option)
        if isinstance(option, type) and issubclass(option, BaseModel):
            value = expand_settings(option, value, on_unset, path)
        elif isinstance(value, list) and get_origin(option) is list:
            value = [_inside(arguments[0], item, on_unset, (*path, index)) for index, item in enumerate(value)]
        elif isinstance(value, dict) and get_origin(option) is dict:
            value = {name: _inside(arguments[1], item, on_unset, (*path, name)) for name, item in value.items()}
    return value


def _has_reference(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_has_reference(item) for item in items)


def _allows(metadata: list[Any], annotation: Any) -> bool:
    marks = [*metadata]
    for option in (annotation, *getattr(annotation, "__args__", ())):
        marks.extend(getattr(option, "__metadata__", ()))
    return any(isinstance(mark, (Expands, FileMark, NameOrFileMark)) for mark in marks)
