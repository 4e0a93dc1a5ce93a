"""The live view of a terminal."""

from __future__ import annotations

import threading
import time
from typing import Any

from rich.console import Console
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from olive_like.engine.progress import Pace
from olive_like.engine.summary import duration


class Live:
    """Lines that come and go with the passes that run. rich heeds NO_COLOR by itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Pace] = {}
        self._console = Console(stderr=True)
        self._live = RichLive(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def update(self, event: dict[str, Any]) -> None:
        name = event.get("pass", "")
        with self._lock:
            match event["event"]:
                case "started":
                    self._running[name] = Pace(time.monotonic())
                case "progress" if name in self._running:
                    self._running[name].heard(event, time.monotonic())
                case "done" | "failed" | "skipped" | "hit":
                    self._running.pop(name, None)

    def say(self, line: str) -> None:
        if not line.endswith(": started"):  # the live line says that
            self._console.print(Text(line))

    def close(self) -> None:
        self._live.stop()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            now = time.monotonic()
            for name, pace in self._running.items():
                table.add_row(Text(name, style="bold"), Text(duration(now - pace.started)), Text(pace.line(now)))
        return table
