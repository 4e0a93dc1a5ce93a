"""The page: a template that is the same for every run, and the run's data inside of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from olive_like.report.data import run_data

FILE = "report.html"
_PLACE = "{{data}}"


def write_report(folder: Path, details: dict[str, Any] | None = None) -> Path:
    """Write a run's report into its folder. `details` are facts about artifacts, by pass."""
    data = run_data(folder)
    data["details"] = details or {}
    target = folder / FILE
    temporary = folder / (FILE + ".new")
    temporary.write_text(page(data), encoding="utf-8")
    temporary.replace(target)
    return target


def page(data: dict[str, Any]) -> str:
    """The page for some data. The script puts names and texts in as text, never as markup."""
    template = Path(__file__).with_name("template.html").read_text(encoding="utf-8")
    # Inside of a script element only `<` can end it or open a comment.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace(_PLACE, text)
