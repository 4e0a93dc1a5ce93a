"""Where a data set's rows are: telling local files and folders from names on a hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# What a local file of rows may end in. A name with one of these is never looked for on a hub.
FORMATS: dict[str, str] = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".txt": "text",
    ".md": "text",
}
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def resolve(name: str, base: Path | None) -> str:
    """The absolute path if the name is local, else the name as it is.

    A file or folder that exists below `base` comes before a name on a hub; what looks like a path is one,
    so that its absence is reported as a missing file.
    """
    if "://" in name:
        return name
    path = Path(os.path.expanduser(name))
    if path.is_absolute() or base is None:
        return str(path) if path.is_absolute() else name
    there = base / path
    if looks_local(name) or os.path.exists(there):
        return str(there)
    return name


def resolve_all(value: Any, base: Path | None) -> Any:
    """`resolve` for text, lists and mappings; patterns become the files that match them, sorted."""
    if isinstance(value, str):
        if base is not None and any(sign in value for sign in "*?["):
            matches = [str(path) for path in sorted(base.glob(value)) if path.is_file()]
            return matches or value
        return resolve(value, base)
    if isinstance(value, (list, tuple)):
        found: list[str] = []
        for item in value:
            one = resolve_all(item, base)
            found.extend(one if isinstance(one, list) else [one])
        return found
    if isinstance(value, dict):
        return {key: resolve_all(item, base) for key, item in value.items()}
    return value


def ending(path: Path) -> str:
    """What the name ends in; of a packed file, what it ends in when it is unpacked."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() if last == ".gz" else last


def looks_local(name: str) -> bool:
    """Whether a name can only be meant as a path."""
    path = Path(name)
    return path.is_absolute() or name.startswith((".", "~")) or ending(path) in FORMATS or name.count("/") > 1
