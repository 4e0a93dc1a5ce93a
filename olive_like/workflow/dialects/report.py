"""What a translation has to say, each time with the place in the file."""

from __future__ import annotations

from olive_like.diagnostics import Diagnostic
from olive_like.diagnostics.codes import problem
from olive_like.workflow.located import LocatedDict, Mark


class Report:
    """Collects the diagnostics of one file."""

    def __init__(self, file: str | None = None) -> None:
        self.file = file
        self.diagnostics: list[Diagnostic] = []

    def add(self, code: str, message: str, at: Mark | None, field: str, hint: str = "") -> None:
        """Note something; what cannot be placed is placed at the top of the file."""
        line, column, length = at or (Mark(1, 1) if self.file else (None, None, 1))
        self.diagnostics.append(
            problem(code, message, file=self.file, line=line, column=column, length=length, hint=hint, field=field)
        )


def at_key(holder: LocatedDict, key: str) -> Mark | None:
    """The place of a key, else of its value, else of the mapping."""
    return holder.keys_at.get(key) or holder.values_at.get(key) or holder.mark


def at_value(holder: LocatedDict, key: str) -> Mark | None:
    """The place of a value, else of its key, else of the mapping."""
    return holder.values_at.get(key) or holder.keys_at.get(key) or holder.mark
