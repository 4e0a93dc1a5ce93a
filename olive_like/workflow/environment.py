"""`${NAME:-default}` in the settings that allow it: those that hold a path, or the name of a model or of data."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from olive_like.marks import FileMark, NameOrFileMark

if TYPE_CHECKING:
    from pydantic import BaseModel

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


def expand_settings(model: type[BaseModel], settings: Any, on_unset: Callable[[str, str], None]) -> Any:
    """The settings of a model with the variables in those fields expanded that allow it."""
    if not isinstance(settings, dict) or not _has_reference(settings):
        return settings
    expanded = dict(settings)
    for name, info in model.model_fields.items():
        if not _allows(info.metadata, info.annotation):
            continue
        for key in (name, info.validation_alias, *getattr(info.validation_alias, "choices", ())):
            if isinstance(key, str) and key in expanded:
                expanded[key] = _expanded(expanded[key], key, on_unset)
    return expanded


def _expanded(value: Any, key: str, on_unset: Callable[[str, str], None]) -> Any:
    if isinstance(value, str) and "${" in value:
        try:
            return expand(value)
        except Unset as error:
            on_unset(key, error.name)
            return value
    if isinstance(value, list):
        return [_expanded(item, key, on_unset) for item in value]
    if isinstance(value, dict):
        return {name: _expanded(item, key, on_unset) for name, item in value.items()}
    return value


def _has_reference(settings: dict[str, Any]) -> bool:
    return any(
        "${" in value if isinstance(value, str) else isinstance(value, (list, dict)) for value in settings.values()
    )


def _allows(metadata: list[Any], annotation: Any) -> bool:
    marks = [*metadata]
    for option in (annotation, *getattr(annotation, "__args__", ())):
        marks.extend(getattr(option, "__metadata__", ()))
    return any(isinstance(mark, (Expands, FileMark, NameOrFileMark)) for mark in marks)
