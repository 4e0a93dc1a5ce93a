"""Collects what is wrong with a workflow, each problem at the place where it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from olive_like.diagnostics import Diagnostic, Severity
from olive_like.diagnostics.codes import problem
from olive_like.workflow.located import Loc, find_mark


class Problems:
    """The diagnostics of one workflow."""

    def __init__(self, tree: Any, file: str | None = None) -> None:
        self.tree = tree
        self.file = file
        self.found: list[Diagnostic] = []

    def add(self, code: str, message: str, loc: Loc, hint: str = "", *, key: bool = False) -> None:
        """Note a problem with the value at `loc`, or with its key."""
        mark = find_mark(self.tree, loc, key=key)
        line, column, length = mark or (None, None, 1)
        self.found.append(
            problem(
                code,
                message,
                file=self.file,
                line=line,
                column=column,
                length=length,
                hint=hint,
                field=dotted(loc),
            )
        )

    @property
    def errors(self) -> list[Diagnostic]:
        """What keeps the workflow from being used."""
        return [diagnostic for diagnostic in self.found if diagnostic.severity is Severity.ERROR]


def dotted(loc: Loc) -> str:
    """A path as a person writes it: `passes.lora.layers[2]`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """In the order of the file, without repetitions; what has no place comes first."""
    return sorted(dict.fromkeys(diagnostics), key=lambda d: (d.line or 0, d.column or 0))


def shown(value: Any) -> str:
    """A value as it may stand in a message: short, and without secrets."""
    from olive_like.diagnostics.hide import Hider

    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = Hider().text(repr(value))
    return text if len(text) <= 60 else text[:57] + "…" + text[-1]
