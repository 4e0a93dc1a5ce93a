"""Diagnostics as text: where, what, the line itself with a caret, and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from olive_like.diagnostics.hide import Hider
from olive_like.diagnostics.model import Diagnostic, Severity

_COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.NOTE: "36"}
_WIDEST = 160


def render(diagnostics: Iterable[Diagnostic], *, colour: bool | None = None, stream: TextIO | None = None) -> str:
    """All diagnostics, with a summary line. Colours where `stream` (standard error) is a terminal."""
    diagnostics = list(diagnostics)
    paint = _Paint(_wants_colour(stream or sys.stderr) if colour is None else colour)
    lines = _Lines()
    hider = Hider()
    blocks = [_block(diagnostic, lines, paint, hider) for diagnostic in diagnostics]
    return "\n\n".join([*blocks, summary(diagnostics)]) if blocks else ""


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """`2 errors, 1 warning`, and where to read more."""
    diagnostics = list(diagnostics)
    counts = {severity: sum(d.severity is severity for d in diagnostics) for severity in Severity}
    parts = [f"{count} {severity.value}{'s' if count > 1 else ''}" for severity, count in counts.items() if count]
    first = next((d.code for d in diagnostics if d.severity is Severity.ERROR), None)
    more = f"; `olive-like explain {first}` says more" if first else ""
    return ", ".join(parts) + more


class _Paint:
    """Puts colours on text, or does not."""

    def __init__(self, active: bool) -> None:
        self.active = active

    def __call__(self, text: str, *codes: str) -> str:
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self.active else text


class _Lines:
    """The lines of the files that diagnostics point into."""

    def __init__(self) -> None:
        self.files: dict[str, list[str]] = {}

    def line(self, file: str | None, number: int | None) -> str | None:
        if file is None or number is None:
            return None
        if file not in self.files:
            try:
                with open(file, encoding="utf-8-sig", errors="replace", newline="") as stream:
                    self.files[file] = stream.read(32 << 20).split("\n")
            except (OSError, ValueError):
                self.files[file] = []
        lines = self.files[file]
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else None


def _wants_colour(stream: TextIO) -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def _block(diagnostic: Diagnostic, lines: _Lines, paint: _Paint, hider: Hider) -> str:
    colour = _COLOURS[diagnostic.severity]
    head = paint(f"{diagnostic.severity.value}[{diagnostic.code}]", "1", colour)
    block = [f"{head}: {paint(hider.text(diagnostic.message), '1')}"]
    place = _place(diagnostic)
    line = lines.line(diagnostic.file, diagnostic.line)
    width = len(str(diagnostic.line)) if diagnostic.line else 1
    if place:
        block.append(f"{' ' * width}{paint('-->', '34')} {place}")
    if line is not None and diagnostic.column is not None:
        text, column, length = _window(hider.text(line), line, diagnostic.column, diagnostic.length)
        bar = paint("|", "34")
        block.append(f"{paint(str(diagnostic.line), '34')} {bar} {text}".rstrip())
        block.append(f"{' ' * width} {bar} {' ' * (column - 1)}{paint('^' * length, '1', colour)}")
    if diagnostic.hint:
        block.append(f"{' ' * width} {paint('=', '34')} {hider.text(diagnostic.hint)}")
    return "\n".join(block)


def _place(diagnostic: Diagnostic) -> str:
    parts = [diagnostic.file or ""]
    if diagnostic.file and diagnostic.line is not None:
        parts.extend([str(diagnostic.line), str(diagnostic.column or 1)])
    place = ":".join(parts)
    if not diagnostic.file and diagnostic.field:
        return f"`{diagnostic.field}`"
    return place


def _window(text: str, original: str, column: int, length: int) -> tuple[str, int, int]:
    """The part of a long line around the marked place, tabs made one space wide, and where the caret goes."""
    if text != original:  # a secret was taken out: columns no longer count
        return _printable(text[:_WIDEST]), 1, max(1, min(len(text), _WIDEST))
    start = 0 if column < _WIDEST - 40 else column - 60
    part = text[start : start + _WIDEST]
    shift = 2 if start else 0
    shown = ("… " if start else "") + part + (" …" if start + _WIDEST < len(text) else "")
    column = column - start + shift
    return _printable(shown), column, max(1, min(length, len(shown) - column + 1))


def _printable(text: str) -> str:
    """Without what would move the caret or speak to the terminal."""
    return "".join(" " if c == "\t" else c if c.isprintable() else "\ufffd" for c in text)
