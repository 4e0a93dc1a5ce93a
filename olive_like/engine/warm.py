"""Workers that stay from one run to the next: for a search, whose batches follow each other at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from olive_like.engine.pool import Pool, end_all


class Warm:
    """An event loop and the pools of workers that live on it; leaving the `with` ends them."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self._runner: asyncio.Runner | None = None

    def run(self, work: Coroutine[Any, Any, None], publishers: int) -> None:
        """Run something on the loop."""
        if self._runner is None:
            self._runner = asyncio.Runner()
            executor = ThreadPoolExecutor(publishers, thread_name_prefix="olive-like-publish")
            self._runner.get_loop().set_default_executor(executor)
        self._runner.run(work)

    def __enter__(self) -> Warm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is None:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._end(kind is None)
            return
        thread = threading.Thread(target=self._end, args=(kind is None,), name="olive-like-end")
        thread.start()  # the caller's loop runs in this one
        thread.join()

    def _end(self, kindly: bool) -> None:
        assert self._runner is not None
        try:
            self._runner.run(end_all(self.pools.values(), kindly=kindly))
        finally:
            self._runner.close()
