"""Run the scheduler's loop wherever the caller is: a script, a thread, a notebook, a running loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

from olive_like.engine.cancel import CancelHandle
from olive_like.engine.execution import Execution
from olive_like.engine.limits import Limits
from olive_like.engine.scheduler import PUBLISHERS, Scheduler
from olive_like.engine.warm import Warm
from olive_like.systems.base import Launch


def run_scheduler(
    execution: Execution,
    launches: Mapping[str, Launch],
    limits: Limits,
    cancel: CancelHandle,
    warm: Warm | None = None,
) -> None:
    """Carry on until every node is settled or the run is cancelled; `warm` keeps the workers for the next run."""
    work = Scheduler(execution, launches, limits, cancel, warm)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        _run(work)
        return
    _in_own_thread(work, cancel)


def _run(work: Scheduler) -> None:
    if work.warm is not None:
        work.warm.run(work.run(), PUBLISHERS)
    else:
        asyncio.run(work.run())


def _in_own_thread(work: Scheduler, cancel: CancelHandle) -> None:
    """The caller's loop runs in this thread: ours needs another one."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            _run(work)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            raised.append(error)

    thread = threading.Thread(target=target, name="olive-like-scheduler")
    thread.start()
    try:
        thread.join()
    except BaseException:
        cancel.cancel()
        thread.join()
        raise
    if raised:
        raise raised[0]
