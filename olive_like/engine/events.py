"""The record of a run: an append-only log of events, from which everything that is shown is drawn."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from olive_like.redact import Redactor
from olive_like.store.trouble import storing

Listener = Callable[[dict[str, Any]], None]

_LARGE = 1 << 18


class RunLog:
    """Writes the folder of one run.

    `events.jsonl` has every event, `run.json` the summary, `plan.json` the plan, `logs/` what each pass
    printed, `metrics/` the progress of every training pass. Nothing in it has a secret.
    """

    def __init__(self, folder: Path, run: str, redactor: Redactor, listener: Listener | None = None) -> None:
        self.folder = folder
        self.run = run
        self.redactor = redactor
        self._listener = listener
        with storing(folder):
            (folder / "logs").mkdir(parents=True, exist_ok=True)
            self._events = (folder / "events.jsonl").open("a", encoding="utf-8")
        _claim(self._events.fileno(), wait=True)
        self._metrics: dict[str, IO[str]] = {}

    def emit(self, kind: str, node: str | None = None, /, **values: Any) -> None:
        """Say something about the run, or about one of its nodes."""
        event: dict[str, Any] = {"time": time.time(), "event": kind}
        if node is not None:
            event["pass"] = node
        event.update(values)
        event = self.redactor.data(event)
        with storing(self.folder):
            self._events.write(_line(event))
            # A reader, or the next run after a crash, sees whole lines at once.
            self._events.flush()
            if kind == "progress" and node is not None:
                self._write_metrics(node, event)
        if self._listener is not None:
            self._listener(event)

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one of the run's JSON files as a whole."""
        with storing(self.folder / name):
            write_text(self.folder / name, self.redactor.json(document) + "\n")

    def log_path(self, node: str) -> Path:
        """Where what a pass prints goes."""
        return self.folder / "logs" / f"{safe_name(node)}.log"

    def end_node(self, node: str) -> None:
        """No more progress comes from this node."""
        file = self._metrics.pop(node, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        for file in self._metrics.values():
            file.close()
        self._events.close()

    def _write_metrics(self, node: str, event: Mapping[str, Any]) -> None:
        if node not in self._metrics:
            folder = self.folder / "metrics"
            folder.mkdir(exist_ok=True)
            self._metrics[node] = (folder / f"{safe_name(node)}.jsonl").open("a", encoding="utf-8")
        values = {key: value for key, value in event.items() if key not in ("event", "pass")}
        self._metrics[node].write(_line(values))
        self._metrics[node].flush()


def is_live(folder: Path) -> bool:
    """Whether the process of a run lives: it holds the log's lock."""
    try:
        with (folder / "events.jsonl").open("rb") as file:
            return not _claim(file.fileno(), wait=False)
    except FileNotFoundError:
        return False


def _claim(descriptor: int, wait: bool) -> bool:
    """Lock the event log; where there are no locks every run but the caller's counts as over."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str) + "\n"


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader sees the old one or the new one."""
    text = json.dumps(document, ensure_ascii=False)
    if len(text) < _LARGE:  # what nobody reads by eye is not laid out for the eye, which takes long
        text = json.dumps(document, indent=1, ensure_ascii=False)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def safe_name(node: str) -> str:
    """A node's name as a file's name."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in node).lstrip(".") or "_"


def new_run_id() -> str:
    """Sorts by time, to a quarter of a millisecond, and two runs of the same moment differ."""
    now = time.time()
    part = f"{int(now % 1 * 0x1000):03x}"
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + "-" + part + os.urandom(2).hex()[:3]
