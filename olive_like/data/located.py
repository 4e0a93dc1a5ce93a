"""A row, or what is none, and where in which file it stands."""

from __future__ import annotations

from typing import Any, NamedTuple

Row = dict[str, Any]


class Located(NamedTuple):
    """One row and where it is."""

    row: Row
    file: str
    line: int


class BadLine(NamedTuple):
    """One line that is no row."""

    file: str
    line: int
    problem: str
