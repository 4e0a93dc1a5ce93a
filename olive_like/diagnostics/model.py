"""The shape of a diagnostic."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Diagnostic:
    """One problem of a workflow, with the place where it is written."""

    code: str  # "OL101"; see codes.py
    message: str
    severity: Severity = Severity.ERROR
    file: str | None = None
    line: int | None = None  # from 1
    column: int | None = None  # from 1
    hint: str = ""
    field: str = ""  # "passes.lora.r"
    length: int = 1  # of what the caret underlines

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity.value,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "hint": self.hint,
            "field": self.field,
        }
