"""Numbers as workflow files write them."""

from __future__ import annotations

import math

_MAX_DIGITS = 400  # Python refuses to read a few thousand; nobody means that many


class TooLong(ValueError):
    """The number has more digits than anybody means."""


def number(text: str) -> int | float:
    """The value of a decimal number; OverflowError if it is too large to be finite."""
    if len(text) > _MAX_DIGITS:
        raise TooLong(text[:20])
    if any(mark in text for mark in ".eE"):
        value = float(text)
        if not math.isfinite(value):
            raise OverflowError(text)
        return value
    return int(text)
