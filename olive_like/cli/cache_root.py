"""The cache folder that a command means."""

from __future__ import annotations

from pathlib import Path


def cache_root(option: str | None) -> Path:
    """The one named on the command line, or the user's."""
    from olive_like.store import default_root

    return Path(option).expanduser().absolute() if option else default_root()
