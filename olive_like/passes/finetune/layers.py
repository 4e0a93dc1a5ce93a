"""Which layers a name in the settings means."""

from __future__ import annotations

import re

from olive_like.errors import PassError


def means(name: str, path: str) -> bool:
    """Whether a layer is meant: by its path or a part of it, or by a pattern of the whole."""
    return f".{name}." in f".{path}." or matches(name, path)


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern, which a plain name is not, fits the whole path."""
    if not any(sign in pattern for sign in "*+?^$|()[]\\"):
        return False
    try:
        return re.fullmatch(pattern, path) is not None
    except re.error as error:
        raise PassError(f"{pattern!r} is no pattern of layers: {error}") from None
