"""Marks on settings, and the walk that finds them again.

A mark says what a setting *is* to the engine: a file whose content belongs into the key, or something
that cannot change the result at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ValidationInfo


@dataclass(frozen=True)
class NotInKey:
    """The setting cannot change the pass's output: worker counts, log levels, scratch paths."""


@dataclass(frozen=True)
class FileMark:
    """The setting names a local file or folder. Its content goes into the key, its path does not."""

    code: bool = False  # the file is Python that the pass will execute


def _resolve(path: Path, info: ValidationInfo) -> Path:
    """Make a path absolute against the workflow file's folder."""
    base = (info.context or {}).get("base_dir")
    path = Path(os.path.expanduser(path))  # unlike Path.expanduser, no exception for a user that is not there
    return path if path.is_absolute() or base is None else Path(base) / path


@dataclass(frozen=True)
class NameOrFileMark:
    """The setting is a name, or local files where an absolute path stands in it: text, a list or a mapping.

    Absolute paths are files whose content goes into the key; all else stays as it is written.
    """

    def is_file(self, value: Any) -> bool:
        """Whether a value that is no list and no mapping is a file."""
        return isinstance(value, str) and Path(value).is_absolute()


@dataclass(frozen=True)
class FilesAmongMark(NameOrFileMark):
    """The setting is a mapping of anything: what of it is a `Path` is a file, and text, of any look, is none."""

    def is_file(self, value: Any) -> bool:
        return isinstance(value, Path)


_NAMES_A_PATH = re.compile(r"(^|_)(path|file|dir|folder)$", re.IGNORECASE)


def _paths_found(options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """What is a path by its name or its look, and is there, as a `Path`; a folder by its name alone."""
    found = dict(options)
    for name, value in options.items():
        named = _NAMES_A_PATH.search(name) is not None
        if isinstance(value, str) and (named or os.sep in value):
            path = _resolve(Path(value), info)
            if os.path.isfile(path) or (named and os.path.isdir(path)):
                found[name] = path
    return found


# Options of another library, handed on as they are: `Annotated[Options, FilesAmongMark()]`.
Options = Annotated[dict[str, Any], AfterValidator(_paths_found)]


LocalPath = Annotated[Path, AfterValidator(_resolve), FileMark()]
ScriptPath = Annotated[Path, AfterValidator(_resolve), FileMark(code=True)]


@dataclass(frozen=True)
class MarkedFile:
    field: str
    path: Path
    code: bool
    in_key: bool = True  # whether its content can change the result


class _Marks(NamedTuple):
    """What the marks of one field say."""

    name: str
    in_key: bool
    file: FileMark | None
    among: NameOrFileMark | None  # tells what of the value is a file


@cache
def _marks(cls: type[BaseModel]) -> tuple[_Marks, ...]:
    return tuple(
        _Marks(
            name,
            not any(isinstance(mark, NotInKey) for mark in info.metadata),
            next((mark for mark in info.metadata if isinstance(mark, FileMark)), _mark_of_optional(info.annotation)),
            next((mark for mark in info.metadata if isinstance(mark, NameOrFileMark)), None),
        )
        for name, info in cls.model_fields.items()
    )


def marked_files(config: BaseModel, prefix: str = "", in_key: bool = True) -> Iterator[MarkedFile]:
    """Every file that the settings name, nested models and data sets included."""
    for marks in _marks(type(config)):
        value = getattr(config, marks.name)
        if value is None:
            continue
        where, counts = f"{prefix}{marks.name}", in_key and marks.in_key
        if marks.file is not None and (paths := _paths(value, where)):  # it may be `LocalPath | dict`
            yield from (MarkedFile(place, path, marks.file.code, counts) for place, path in paths)
        elif marks.among is not None:
            yield from _files_among(value, where, counts, marks.among)
        else:
            yield from _inside(value, where, counts)


def _inside(value: Any, where: str, in_key: bool) -> Iterator[MarkedFile]:
    if isinstance(value, BaseModel):
        yield from marked_files(value, where + ".", in_key)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _inside(item, f"{where}[{index}]", in_key)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _inside(item, f"{where}.{key}", in_key)


def _paths(value: Any, where: str = "") -> list[tuple[str, Path]]:
    """The path in a field, or all of those in a list or mapping that has nothing else, each with its place."""
    if isinstance(value, (str, os.PathLike)):
        return [(where, Path(value))]
    items: list[tuple[str, Any]] = []
    if isinstance(value, (list, tuple)):
        items = [(f"{where}[{index}]", item) for index, item in enumerate(value)]
    elif isinstance(value, dict):
        items = [(f"{where}.{key}", item) for key, item in value.items()]
    return [(place, item) for place, item in items] if all(isinstance(item, Path) for _, item in items) else []


def _files_among(value: Any, where: str, in_key: bool, mark: NameOrFileMark) -> Iterator[MarkedFile]:
    if mark.is_file(value):
        yield MarkedFile(where, Path(value), code=False, in_key=in_key)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _files_among(item, f"{where}[{index}]", in_key, mark)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _files_among(item, f"{where}.{key}", in_key, mark)


def _without_paths(value: Any, mark: NameOrFileMark) -> Any:
    """The value with every file's path emptied: where a file lies cannot change what it holds."""
    if mark.is_file(value):
        return ""
    if isinstance(value, (list, tuple)):
        return [_without_paths(item, mark) for item in value]
    if isinstance(value, dict):
        return {_named(key): _without_paths(item, mark) for key, item in value.items()}
    return value


def _mark_of_optional(annotation: Any) -> FileMark | None:
    """The mark inside `LocalPath | None` or `list[LocalPath]`, which pydantic leaves in the annotation."""
    for option in getattr(annotation, "__args__", ()):
        for mark in getattr(option, "__metadata__", ()):
            if isinstance(mark, FileMark):
                return mark
        if (found := _mark_of_optional(option)) is not None:
            return found
    return None


def semantic(config: BaseModel) -> dict[str, Any]:
    """The settings that can change a result, defaults filled in: what of the config goes into the key.

    Marked files are left out here: the graph adds the digests of their content.
    """
    return {
        marks.name: _plain(value) if marks.among is None else _without_paths(value, marks.among)
        for marks in _marks(type(config))
        if marks.in_key and not _is_file(marks, value := getattr(config, marks.name))
    }


def _is_file(marks: _Marks, value: Any) -> bool:
    """Whether files, or none, stand in the field; in `LocalPath | dict` settings may stand there as well."""
    return marks.file is not None and (value is None or bool(_paths(value)))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return semantic(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_named(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    return value


def _named(key: Any) -> str:
    """A mapping's key as text: that of a number is another than that of its digits."""
    return key if isinstance(key, str) else f"({type(key).__name__}) {key}"
