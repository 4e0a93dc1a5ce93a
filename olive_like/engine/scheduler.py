"""Carry out a plan with worker processes: what is ready and has a slot runs, side by side with the rest."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from olive_like.engine.answer import Failure, Stop, Success
from olive_like.engine.cancel import CancelHandle
from olive_like.engine.execution import Execution, NodeState
from olive_like.engine.limits import Limits
from olive_like.engine.pool import Pool, Slot, Waiting, end_all
from olive_like.engine.step import Step
from olive_like.engine.warm import Warm
from olive_like.engine.worker_handle import StartFailed, WorkerHandle
from olive_like.errors import StoreError
from olive_like.systems.base import Launch

T = TypeVar("T")
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25
PUBLISHERS = 16  # results on their way to the disk at a time; they wait for it rather than compute


@dataclass
class Scheduler:
    """One run's asyncio side."""

    execution: Execution
    launches: Mapping[str, Launch]
    limits: Limits
    cancel: CancelHandle
    warm: Warm | None = None  # whose loop this runs on, and whose workers it uses and leaves
    _pools: dict[str, Pool] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _running: int = 0
    _running_memory: int = 0
    _stopped: str = ""
    _broken: BaseException | None = None

    async def run(self) -> None:
        """Carry on until every node is settled."""
        self._wake = asyncio.Event()
        loop = asyncio.get_running_loop()
        if self.warm is None:
            loop.set_default_executor(ThreadPoolExecutor(PUBLISHERS, thread_name_prefix="olive-like-publish"))
        else:
            self._pools = self.warm.pools

        def on_cancel() -> None:
            loop.call_soon_threadsafe(self._stop, self.cancel.reason)

        self.cancel.serve(on_cancel)
        try:
            while not self.execution.finished and self._broken is None:
                if not self._stopped:
                    await self._start_ready()
                elif not self._tasks:
                    self.execution.skip_rest(self._stopped)
                    break
                if not self.execution.finished and self._broken is None:
                    await self._wake.wait()
                    self._wake.clear()
            if self._broken is not None:
                raise self._broken
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self.warm is None or self._stopped or self._broken is not None:
                await end_all(self._pools.values(), kindly=not self._stopped)
                self._pools.clear()
            self.cancel.serve(None)

    def _stop(self, why: str) -> None:
        """Start nothing more and end what runs; checkpoints stay where they are."""
        self._stopped = why
        for task in self._tasks:
            task.cancel()
        self._wake.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()
        self._wake.set()

    async def _start_ready(self) -> None:
        for count, state in enumerate(self.execution.take_ready(), 1):
            if not self.execution.look_up(state):
                self._prepare(state)
            if count % 64 == 0:
                await asyncio.sleep(0)  # a signal or an event may be waiting
        for pool in self._pools.values():
            while (head := pool.head()) is not None and self._fits(head):
                waiting, slot = pool.take()
                self._running += 1
                self._running_memory += waiting.memory
                self._spawn(self._occupy(pool, slot, waiting))

    def _fits(self, waiting: Waiting) -> bool:
        if self.limits.jobs is not None and self._running >= self.limits.jobs:
            return False
        # What is too large for the machine runs alone rather than never.
        return not (self.limits.memory and self._running and self._running_memory + waiting.memory > self.limits.memory)

    def _prepare(self, state: NodeState) -> None:
        """A node has to run: queue it, its inputs verified first."""
        unseen = [name for name in state.plan.node.upstream if self.execution.in_hand(name) is None]
        if unseen:
            self._spawn(self._verify(state, unseen))
        else:
            self._enqueue(state)

    async def _verify(self, state: NodeState, inputs: Sequence[str]) -> None:
        """Check the stored inputs of a node; one that is damaged or gone is made again before it."""
        whole = True
        for name in inputs:
            if self.execution.settled(name) and await asyncio.to_thread(self.execution.verify, name):
                continue
            self.execution.reopen(name, state)
            whole = False
        if whole:
            self._enqueue(state)

    def _enqueue(self, state: NodeState) -> None:
        node = state.plan.node
        if node.system not in self._pools:
            launch = self.launches[node.system]
            self._pools[node.system] = Pool(launch, self.limits.jobs, self.execution.log.redactor, self.limits.keep)
        inputs = [self.execution.known(name) for name in node.inputs]
        self._pools[node.system].enqueue(
            Waiting(
                state.order,
                state.name,
                alone=node.cls.alone(node.config),
                memory=node.cls.memory_estimate(inputs, node.config) or 0,
                likes=frozenset(str(artifact.digest) for artifact in inputs),
            )
        )

    async def _occupy(self, pool: Pool, slot: Slot, waiting: Waiting) -> None:
        """Hold a slot for as long as the node's pass runs, and publish what it made after that."""
        state = self.execution.states[waiting.name]
        step = Step(self.execution, state)
        try:
            answer = await self._run_here(pool, slot, step)
        finally:
            pool.give_back(slot)
            self._running -= 1
            self._running_memory -= waiting.memory
            self._wake.set()
        if answer is None:
            return
        pool.publishing += 1
        try:
            await self._settle(step, answer, slot.worker)
        finally:
            pool.publishing -= 1
            step.unlock()

    async def _run_here(self, pool: Pool, slot: Slot, step: Step) -> Success | Failure | None:
        """Run the node's pass; None if that is not needed, or another process is at it."""
        if not step.lock():
            # Leave the slot to others and look again when the other one is through.
            self._spawn(self._wait_for_other(step.state))
            return None
        try:
            if not self.execution.look_up(step.state):
                return await self._attempts(pool, slot, step)
        except BaseException:
            step.discard()
            step.unlock()
            raise
        step.unlock()
        return None

    async def _settle(self, step: Step, answer: Success | Failure, worker: WorkerHandle | None) -> None:
        """Keep the result. What the disk takes its time for happens beside other passes."""
        failure: Failure | None
        if isinstance(answer, Failure):
            failure = answer
        else:
            failure = await _uncancelled(asyncio.to_thread(step.publish, answer))
        if failure is not None:
            step.fail(failure)
            if self.limits.fail_fast:
                self._stop(f"{step.state.name} failed, and the run was to stop at the first failure")
            return
        output, digest = step.finish()
        if worker is not None:
            worker.made.add(digest)
            if isinstance(answer, Success) and answer.kept:
                worker.tell_made(output, digest)

    async def _attempts(self, pool: Pool, slot: Slot, step: Step) -> Success | Failure:
        """Try until there is an answer that another worker would give as well."""
        retries = max(self.limits.retries, pool.launch.retries)
        for attempt in itertools.count(1):
            answer = await self._attempt(pool, slot, step)
            if isinstance(answer, Success) or not answer.lost or attempt > retries:
                return answer
            step.warn(f"{answer.message}; it is tried again ({attempt} of {retries})")
        raise AssertionError("unreachable")

    async def _attempt(self, pool: Pool, slot: Slot, step: Step) -> Success | Failure:
        try:
            launch = pool.launch_for(step.state.plan.node.cls.distributed)
            job = step.job(launch, slot.devices, pool.keep)
            step.started(slot.index)
            worker = await pool.worker(slot, step.log_path, launch)
        except StartFailed as error:
            return error.failure
        except Stop as stop:
            return Failure(stop.message, stop.hint, type="Stop")
        except StoreError as error:
            return Failure(error.message, error.hint)
        try:
            return await worker.run(job, step.log_path, step.on_event, self.limits.timeout)
        except Stop as stop:
            await worker.end()
            return Failure(stop.message, stop.hint, type="Stop")

    async def _wait_for_other(self, state: NodeState) -> None:
        """Wait until another run's work on this key is done, or its process is gone."""
        step = Step(self.execution, state)
        step.waiting()
        pause = _SHORTEST_PAUSE
        while not step.lock():
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        step.unlock()
        if not self.execution.look_up(state):
            self._enqueue(state)


async def _uncancelled(work: Coroutine[Any, Any, T]) -> T:
    """Finish what takes but a moment, also if the run is told to stop meanwhile: a result is a result."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
