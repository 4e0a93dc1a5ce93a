"""A workflow that is written to another folder: its relative paths as they are seen from there."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from olive_like.marks import marked_files
from olive_like.workflow.files import configs
from olive_like.workflow.read import read

_PLACES = ("output_dir", "cache_dir")  # that need not exist yet
# Names of the hub, or paths: what has no mark, or has one under another name in a dialect.
_NAMES_OR_PATHS = ("model_path", "adapter_path", "source", "data_name", "data_dir", "files", "data_files")
_PATHS = (*_NAMES_OR_PATHS, *_PLACES)


def moved(workflow: dict[str, Any], old: Path, new: Path) -> dict[str, Any]:
    """A workflow's tree with every local path, relative to `old`, made relative to `new`."""
    found: dict[str, Any] = _Move(workflow, old.absolute(), new).of(workflow)
    return found


class _Move:
    """What the workflow's own settings say is a file is one; a name that may be one is, if it is there."""

    def __init__(self, workflow: dict[str, Any], old: Path, new: Path) -> None:
        self._old, self._new = old, new
        self._marked: dict[Path, list[str]] = defaultdict(list)  # the settings that name a file
        draft = read(workflow, base_dir=old).draft
        for config, _ in configs(draft) if draft is not None else ():
            for file in marked_files(config):
                self._marked[file.path].append(re.sub(r"\[\d+\]", "", f".{file.field}."))

    def of(self, value: Any, key: str = "") -> Any:
        """The value of a key; of a list's items, the list's key."""
        if isinstance(value, dict):
            # The values under `files` are paths too, whatever their names.
            return {
                name: self.of(item, name if name in _PATHS or key not in ("files", "data_files") else key)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self.of(item, key) for item in value]
        if not isinstance(value, str) or not _is_relative(value):
            return value
        file, colon, function = value.rpartition(":")
        if colon and self._is_marked(file, key):  # a function in a file
            return f"{self._seen(file)}:{function}"
        return self._seen(value) if self._is_path(value, key) else value

    def _is_path(self, text: str, key: str) -> bool:
        if self._is_marked(text, key) or key in _PLACES:
            return True
        place = self._old / text
        return key in _PATHS and (place.exists() or _matches(place))

    def _is_marked(self, text: str, key: str) -> bool:
        """Whether a setting of that name, or of which it is a part, names that file."""
        return any(f".{key}." in field for field in self._marked.get(self._old / text, ()))

    def _seen(self, text: str) -> str:
        seen = os.path.relpath(self._old / text, self._new)
        # A leading dot says that it is a path, where a bare `a/b` could be a name on a hub.
        return seen if seen.startswith(".") else os.path.join(".", seen)


def _is_relative(text: str) -> bool:
    return bool(text) and not Path(text).is_absolute() and not text.startswith(("~", "$"))


def _matches(place: Path) -> bool:
    """A pattern counts where it is one and its folder is there."""
    return any(sign in place.name for sign in "*?[") and place.parent.is_dir()
