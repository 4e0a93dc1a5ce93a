"""Runs that were: what their folders say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olive_like.engine.events import is_live, safe_name
from olive_like.errors import OliveLikeError


@dataclass(frozen=True)
class PastRun:
    """One folder below `runs/`."""

    folder: Path
    document: dict[str, Any]

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def status(self) -> str:
        """ok, failed, interrupted, running, or lost for one whose process died."""
        status = str(self.document.get("status", "lost"))
        return "lost" if status == "running" and not is_live(self.folder) else status

    def to_json(self) -> dict[str, Any]:
        """What a list of runs shows."""
        passes = self.document.get("passes", ())
        counts: dict[str, int] = {}
        for item in passes:
            counts[item["status"]] = counts.get(item["status"], 0) + 1
        return {
            "run": self.id,
            "status": self.status,
            "started": self.document.get("started"),
            "seconds": self.document.get("seconds"),
            "workflow": self.document.get("workflow"),
            "passes": counts,
            "folder": str(self.folder),
        }

    def details(self) -> dict[str, Any]:
        """Everything that `run --json` said, and what the run was made of."""
        return {
            "passes": [],
            "outputs": {},
            "seconds": None,
            **self.document,
            "status": self.status,
            "folder": str(self.folder),
        }

    def events(self) -> Iterator[dict[str, Any]]:
        """The events, in the order in which they happened; a line cut off by a crash is left out."""
        with (self.folder / "events.jsonl").open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)

    def log(self, name: str) -> Path:
        """The log of one pass."""
        path = self.folder / "logs" / f"{safe_name(name)}.log"
        if not path.is_file():
            known = sorted(entry.stem for entry in (self.folder / "logs").glob("*.log"))
            hint = f"There are logs of: {', '.join(known)}" if known else "All that this run needed was in the cache."
            raise OliveLikeError(f"run {self.id} has no log of a pass {name!r}", hint)
        return path


def all_runs(root: Path) -> list[PastRun]:
    """The runs of a store, the latest first; where it is read-only, also those in its user's own folder."""
    from olive_like.store import Store

    with Store(root) as store:
        places = [part.layout.runs for part in (store, store.over) if part is not None]
    folders = sorted((folder for place in places for folder in _folders(place)), key=lambda it: it.name, reverse=True)
    return [PastRun(folder, _document(folder)) for folder in folders]


def _folders(place: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(place) if entry.is_dir()]
    except FileNotFoundError:
        return []


def find_run(root: Path, name: str) -> PastRun:
    """The run of that id, of which the beginning is enough; `last` is the latest one, `previous` that before it."""
    found = all_runs(root)
    number = {"last": 0, "previous": 1}.get(name)
    if number is not None and len(found) > number:
        return found[number]
    fitting = [run for run in found if run.id.startswith(name)]
    exact = [run for run in fitting if run.id == name]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    if fitting:
        raise OliveLikeError(f"{len(fitting)} runs begin with {name!r}", f"{fitting[0].id} and {fitting[1].id}, say.")
    raise OliveLikeError(f"there is no run {name!r}", "`olive-like runs` lists them; `last` is the latest.")


def _document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # cut off by a crash
    return document if isinstance(document, dict) else {}
