"""What other packages bring and cannot be loaded, said by commands that did without it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from olive_like.plugins import Broken


def say_broken(found: Iterable[Broken]) -> int:
    """Name them; the exit code of the command."""
    code = 0
    for error in found:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        code = 1
    return code
