"""Events as a person follows them: live lines on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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


class PlainView:
    """One line when a pass starts and one when it ends; for files, pipes and CI."""

    def __call__(self, event: dict[str, Any]) -> None:
        line = describe(event)
        if line is not None:
            self.say(line)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None: ...


class LiveView(PlainView):
    """A line for every running pass, drawn anew as it goes. Made of rich once something really runs."""

    def __init__(self) -> None:
        self._live: Any = None

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "started" and self._live is None:
            from olive_like.engine.live import Live

            self._live = Live()
        if self._live is not None:
            self._live.update(event)
        super().__call__(event)

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
        case "skipped":
            return f"{name}: skipped, {event['why']}"
    return None


def running_line(event: Mapping[str, Any], elapsed: float) -> str:
    """Where a running pass stands: step, what it says of itself, and when it will be done."""
    from olive_like.engine.summary import duration

    step, total = event.get("step", 0), event.get("total")
    parts = [f"{step}/{total}" if total else str(step)]
    for name, value in event.items():
        if name not in ("time", "event", "pass", "step", "total") and isinstance(value, (int, float)):
            parts.append(f"{name} {value:.4g}")
    if "rate" not in event and step and elapsed >= 1:
        parts.append(f"{step / elapsed:.3g}/s")
    if total and 0 < step < total:
        parts.append(f"{duration(elapsed / step * (total - step))} left")
    return "  ".join(parts)
