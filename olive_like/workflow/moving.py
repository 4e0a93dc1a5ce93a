"""A workflow that is written to another folder: its relative paths as they are seen from there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_PLACES = ("output_dir", "cache_dir")  # that need not exist yet
_PATHS = (
    "model_path",
    "adapter_path",
    "model_script",
    "script_dir",
    "source",
    "data_name",
    "data_dir",
    "files",
    "data_files",
    "user_script",
    "init_adapter",
    "hostfile",
    *_PLACES,
)


def moved(value: Any, old: Path, new: Path, key: str = "") -> Any:
    """Plain data with every local path, relative to `old`, made relative to `new`; what is no file there stays."""
    if isinstance(value, dict):
        # The values under `files` are paths too, whatever their names.
        return {
            name: moved(item, old, new, name if name in _PATHS or key not in ("files", "data_files") else key)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [moved(item, old, new, key) for item in value]
    if key == "metrics" and isinstance(value, str) and ".py:" in value:  # a function in a file
        file, _, function = value.rpartition(":")
        return f"{moved(file, old, new, 'user_script')}:{function}"
    if key not in _PATHS or not isinstance(value, str) or not _is_relative(value):
        return value
    place = old / value
    if key not in _PLACES and not place.exists() and not _matches(place):
        return value
    seen = os.path.relpath(place, new)
    # A leading dot says that it is a path, where a bare `a/b` could be a name on a hub.
    return seen if seen.startswith(".") else os.path.join(".", seen)


def _is_relative(text: str) -> bool:
    return bool(text) and not Path(text).is_absolute() and not text.startswith(("~", "$"))


def _matches(place: Path) -> bool:
    """A pattern counts where it is one and its folder is there."""
    return any(sign in place.name for sign in "*?[") and place.parent.is_dir()
