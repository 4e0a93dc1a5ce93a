"""Which file names are taken in from elsewhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_LONGEST_PART = 255
_LONGEST = 1024


def is_digest(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)


def trouble_with(paths: Iterable[str]) -> str:
    """What is wrong with the relative paths of an artifact's files; empty: nothing."""
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for path in paths:
        if trouble := _trouble_with_one(path):
            return f"the path {path[:200]!r} {trouble}"
        # Two names that some file system takes for one would overwrite each other there.
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        if folded in seen:
            return f"the paths {seen[folded][:200]!r} and {path[:200]!r} are the same to some file systems"
        seen[folded] = path
        parts = folded.split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    clash = folders & seen.keys()
    return f"{min(clash)[:200]!r} is a file and a folder" if clash else ""


def _trouble_with_one(path: str) -> str:
    if not path or path.startswith("/") or "\\" in path or ":" in path.split("/")[0]:
        return "is not relative"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "leads out of its folder"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in path):
        return "has control characters"
    if len(path.encode()) > _LONGEST or any(len(part.encode()) > _LONGEST_PART for part in path.split("/")):
        return "is too long"
    return ""
