"""How a run is told to stop, from another thread or from a signal handler."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Interrupted(KeyboardInterrupt):
    """The run was told to stop while it did something that it can simply drop."""


class CancelHandle:
    """Give one to `run(cancel=…)` and call `cancel()` from anywhere: the run ends its workers and returns."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._lock = threading.RLock()
        self._hook: Callable[[], None] | None = None
        self.reason = "interrupted"

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    @property
    def served(self) -> bool:
        """Whether something ends the run as soon as it is requested."""
        return self._hook is not None

    def cancel(self, reason: str = "interrupted") -> None:
        with self._lock:
            self.reason = reason
            self._requested.set()
            if self._hook is not None:
                self._hook()

    def check(self) -> None:
        """Raise Interrupted if the run was told to stop."""
        if self.requested:
            raise Interrupted(self.reason)

    def serve(self, hook: Callable[[], None] | None) -> None:
        """Call `hook` on request, at once if there was one already."""
        with self._lock:
            self._hook = hook
            if hook is not None and self.requested:
                hook()
