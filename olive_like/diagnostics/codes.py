"""Every code there is: the one source of titles, severities and explanation pages."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import NamedTuple

from olive_like.diagnostics.model import Diagnostic, Severity


class Code(NamedTuple):
    """What a code means to the reader of a message."""

    title: str
    meaning: str
    example: str  # what causes it; "" where no few lines of a file do
    remedy: str
    severity: Severity = Severity.ERROR


# first digit of the number -> the module that has the codes of that range
_RANGES = {
    "0": "reading",
    "1": "schema",
    "2": "graph",
    "3": "available",
    "4": "environment",
    "5": "search",
}


@cache
def codes_in(digit: str) -> dict[str, Code]:
    """The codes of one range (the digit after `OL`)."""
    table: dict[str, Code] = import_module(f"olive_like.diagnostics.catalogue.{_RANGES[digit]}").CODES
    return table


def all_codes() -> dict[str, Code]:
    """All codes, in order."""
    return {code: entry for digit in _RANGES for code, entry in sorted(codes_in(digit).items())}


def find(code: str) -> Code | None:
    """The entry of a code, if there is one."""
    code = code.upper()
    return codes_in(code[2]).get(code) if code[:2] == "OL" and code[2:3] in _RANGES else None


def problem(
    code: str,
    message: str,
    *,
    file: str | None = None,
    line: int | None = None,
    column: int | None = None,
    length: int = 1,
    hint: str = "",
    field: str = "",
) -> Diagnostic:
    """A diagnostic whose severity is that of its code."""
    entry = find(code)
    if entry is None:
        raise LookupError(f"{code} is not in the catalogue of codes")
    return Diagnostic(code, message, entry.severity, file, line, column, hint, field, length)


def page(code: str) -> str:
    """The explanation of a code, as `olive-like explain CODE` prints it."""
    entry = find(code)
    if entry is None:
        raise LookupError(code)
    parts = [f"{code.upper()} ({entry.severity.value}): {entry.title}", entry.meaning.strip()]
    if entry.example:
        parts.append("For example:\n\n" + _indented(entry.example))
    parts.append("What to do: " + entry.remedy.strip())
    return "\n\n".join(parts)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.strip("\n").splitlines())
