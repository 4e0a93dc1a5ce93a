"""The slots of one system: how many passes run there side by side, and the warm worker of each."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from olive_like.engine.worker_handle import WorkerHandle
from olive_like.redact import Redactor
from olive_like.systems.base import Launch


@dataclass
class Slot:
    """A place for one pass at a time."""

    index: int
    devices: Sequence[str]
    worker: WorkerHandle | None = None


@dataclass(order=True)
class Waiting:
    """A node that waits for a slot; earlier in the plan goes first."""

    order: int
    name: str = field(compare=False)
    alone: bool = field(compare=False, default=False)  # takes times, so nothing else may run beside it
    memory: int = field(compare=False, default=0)  # bytes it will take, where that can be told
    likes: frozenset[str] = field(compare=False, default=frozenset())  # digests that a warm worker may have loaded


class Pool:
    """The slots of a system and the queue before them."""

    def __init__(self, launch: Launch, jobs: int | None, redactor: Redactor, memory: int) -> None:
        count = max(1, launch.slots if jobs is None else min(launch.slots, jobs))
        self.launch = launch
        self.exclusive = False
        self.publishing = 0  # results that are being put into the store
        self._redactor = redactor
        self.keep = memory // count
        self._slots = [Slot(index, _share(launch.devices, index, max(1, launch.slots))) for index in range(count)]
        self._free = list(self._slots)
        self._queue: list[Waiting] = []

    @property
    def busy(self) -> int:
        return len(self._slots) - len(self._free)

    def enqueue(self, waiting: Waiting) -> None:
        heapq.heappush(self._queue, waiting)

    def head(self) -> Waiting | None:
        """The next to start, if there is a slot for it now."""
        if not self._queue or not self._free or self.exclusive:
            return None
        head = self._queue[0]
        return None if head.alone and (self.busy or self.publishing) else head

    def take(self) -> tuple[Waiting, Slot]:
        """Take the head of the queue and a slot, of several the one whose worker knows its input."""
        waiting = heapq.heappop(self._queue)
        self.exclusive = waiting.alone
        slot = max(self._free, key=lambda slot: _affinity(slot, waiting.likes))
        self._free.remove(slot)
        return waiting, slot

    def give_back(self, slot: Slot) -> None:
        self.exclusive = False
        self._free.append(slot)

    def launch_for(self, distributed: bool) -> Launch:
        """How a pass is started here: as the system's ranks, or as one process if it can only be that."""
        return self.launch if distributed or self.launch.single is None else self.launch.single

    async def worker(self, slot: Slot, log: Path, launch: Launch | None = None) -> WorkerHandle:
        """The slot's warm worker, or a new one, which may write to the log while it starts."""
        launch = launch or self.launch
        if slot.worker is None or not slot.worker.reusable or slot.worker.launch is not launch:
            if slot.worker is not None:
                await slot.worker.stop()
            slot.worker = WorkerHandle(launch, slot.devices, self._redactor, self.keep)
            await slot.worker.start(log)
        return slot.worker

    def workers(self) -> Iterable[WorkerHandle]:
        return (slot.worker for slot in self._slots if slot.worker is not None)


def _affinity(slot: Slot, likes: frozenset[str]) -> tuple[bool, bool]:
    worker = slot.worker
    warm = worker is not None and worker.reusable
    return (warm and worker is not None and not likes.isdisjoint(worker.made), warm)


def _share(devices: Sequence[str], index: int, slots: int) -> Sequence[str]:
    """The devices of one slot: the system's, dealt out in equal parts where there are enough."""
    each = len(devices) // slots
    return devices[index * each : (index + 1) * each] if each else devices


async def end_all(pools: Iterable[Pool], kindly: bool) -> None:
    """End every worker of every pool, all at once."""
    workers = [worker for pool in pools for worker in pool.workers()]
    await asyncio.gather(*(worker.stop() if kindly else worker.end() for worker in workers))
