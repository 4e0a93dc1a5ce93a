"""The page: a template that is the same for every run, and the run's data inside of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.report.data import run_data

if TYPE_CHECKING:
    from olive_like.engine.runner import Finished

FILE = "report.html"
MANY = 1000  # passes; the report of a larger run is drawn when it is asked for
_PLACE = "{{data}}"


def report_run(finished: Finished, search: bool = False) -> None:
    """Write the report of a run that has just ended. Where nothing ran, no artifact is looked at.

    A search ends with a run of its best candidate, where all is a hit although the search made it.
    """
    execution = finished.execution
    if len(execution.states) > MANY:
        return
    found: dict[str, Any] = {}
    if search or not execution.plan.all_hits:
        from olive_like.report.details import FILE as DETAILS
        from olive_like.report.details import of_execution

        found = of_execution(execution)
        (execution.log.folder / DETAILS).write_text(json.dumps(found), encoding="utf-8")
    write_report(execution.log.folder, found)


def write_report(folder: Path, details: dict[str, Any] | None = None) -> Path:
    """Write a run's report into its folder. `details` are facts about artifacts, by pass."""
    data = run_data(folder, details)
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
