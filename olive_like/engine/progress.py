"""Events as a person follows them: live lines on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_EVERY = 60.0  # seconds between lines of a pass that runs

Listener = Callable[[dict[str, Any]], None]


@contextmanager
def progress(quiet: bool = False) -> Iterator[Listener | None]:
    """A listener that shows the run on standard error; None if nothing is to be shown."""
    if quiet:
        yield None
        return
    view: PlainView = LiveView() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else PlainView()
    try:
        yield view
    finally:
        view.close()


class Pace:
    """How fast a pass goes: measured from the first step that was heard of, as an interrupted one may go on from it."""

    def __init__(self, now: float) -> None:
        self.started, self.event = now, dict[str, Any]()
        self._first = (now, 0)

    def heard(self, event: Mapping[str, Any], now: float) -> None:
        if not self.event:
            self._first = (now, event.get("step", 0))
        self.event = dict(event)

    def line(self, now: float) -> str:
        began, since = self._first
        return running_line(self.event, now - began, since) if self.event else ""


class PlainView:
    """One line when a pass starts, one a minute while it runs, and one when it ends; for files, pipes and CI."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}
        self._said: dict[str, float] = {}  # of each pass, when a line of it was last written

    def __call__(self, event: dict[str, Any]) -> None:
        line = self._how_far(event) or describe(event)
        if line is not None:
            self.say(line)

    def _how_far(self, event: Mapping[str, Any]) -> str | None:
        name, now = event.get("pass", ""), time.monotonic()
        if event["event"] == "started":
            self._paces[name], self._said[name] = Pace(now), now
        if event["event"] != "progress" or name not in self._paces:
            return None
        self._paces[name].heard(event, now)
        if now - self._said[name] < _EVERY:
            return None
        self._said[name] = now
        return f"{name}: {self._paces[name].line(now)}"

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None: ...


class LiveView(PlainView):
    """A line for every running pass, drawn anew as it goes. Made of rich once something really runs."""

    def __init__(self) -> None:
        super().__init__()
        self._live: Any = None

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "started" and self._live is None:
            from olive_like.engine.live import Live

            self._live = Live()
        if self._live is not None:
            self._live.update(event)
        super().__call__(event)

    def _how_far(self, event: Mapping[str, Any]) -> str | None:
        return None  # the live line says that

    def say(self, line: str) -> None:
        if self._live is not None:
            self._live.say(line)
        else:
            super().say(line)

    def close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None


def describe(event: Mapping[str, Any]) -> str | None:
    """An event as a line; None if it does not deserve one."""
    from olive_like.engine.summary import duration

    name = event.get("pass", "")
    match event["event"]:
        case "started":
            return f"{name}: started"
        case "done":
            return f"{name}: done in {duration(event['seconds'])}"
        case "failed":
            return f"{name}: failed: {event['message']}"
        case "waiting":
            return f"{name}: waits, {event['why']}"
        case "warning":
            return f"warning: {name + ': ' if name else ''}{event['text']}"
        case "note" if not name:  # of the run; those of passes stand in the summary
            return f"note: {event['text']}"
        case "skipped":
            return f"{name}: skipped, {event['why']}"
    return None


def running_line(event: Mapping[str, Any], elapsed: float, since: int = 0) -> str:
    """Where a running pass stands: step, what it says of itself, and when it will be done.

    `elapsed` are the seconds that the steps from `since` on took.
    """
    from olive_like.engine.summary import duration, size

    step, total = event.get("step", 0), event.get("total")
    done = step - since
    parts = [f"{step}/{total}" if total else str(step)]
    for name, value in event.items():
        if name not in ("time", "event", "pass", "step", "total") and isinstance(value, (int, float)):
            parts.append(f"{name} {size(int(value)) if name == 'memory' else f'{value:.4g}'}")
    if "rate" not in event and done > 0 and elapsed >= 1:
        parts.append(f"{done / elapsed:.3g}/s")
    if total and done > 0 and step < total:
        parts.append(f"{duration(elapsed / done * (total - step))} left")
    return "  ".join(parts)
