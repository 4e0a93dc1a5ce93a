"""Carry out a plan in this very process, one pass after another: for debuggers and for embedding."""

from __future__ import annotations

from collections.abc import Mapping

from olive_like.engine.answer import Failure, Stop, Success
from olive_like.engine.cancel import CancelHandle
from olive_like.engine.execution import Execution, NodeState
from olive_like.engine.memory import Memory
from olive_like.engine.resources import Sampler
from olive_like.engine.step import Step
from olive_like.engine.worker import failure, run_pass, seal_result
from olive_like.errors import StoreError
from olive_like.systems.base import Launch


class Inline:
    """The scheduler's counterpart without processes."""

    def __init__(
        self, execution: Execution, launches: Mapping[str, Launch], cancel: CancelHandle, *, keep: int, fail_fast: bool
    ) -> None:
        self.execution = execution
        self.launches = launches
        self.cancel = cancel
        self.fail_fast = fail_fast
        self._memory = Memory()
        self._memory.budget = keep

    def run(self) -> None:
        """Carry on until every node is settled."""
        while not self.execution.finished:
            for state in self.execution.take_ready():
                self.cancel.check()
                if not self.execution.look_up(state) and self._verified(state):
                    self._work(state)
                    if state.error is not None and self.fail_fast:
                        self.execution.skip_rest(f"{state.name} failed, and the run was to stop at the first failure")
                        return

    def _verified(self, state: NodeState) -> bool:
        whole = True
        for name in state.plan.node.upstream:
            if not self.execution.settled(name) or not self.execution.verify(name):
                self.execution.reopen(name, state)
                whole = False
        return whole

    def _work(self, state: NodeState) -> None:
        step = Step(self.execution, state)
        step.acquire()
        try:
            if self.execution.look_up(state):
                return
            answer: Success | Failure | None = self._apply(step)
            if isinstance(answer, Success):
                answer = step.publish(answer)
            if answer is not None:
                step.fail(answer)
            else:
                step.finish()
        except BaseException:
            step.discard()
            raise
        finally:
            step.unlock()

    def _apply(self, step: Step) -> Success | Failure:
        """Run the pass here; what interrupts the whole process is not the pass's failure."""
        launch = self.launches[step.state.plan.node.system]
        try:
            job = step.job(launch, launch.devices)
            step.started()
        except StoreError as error:
            return Failure(error.message, error.hint)
        except Stop as stop:
            return Failure(stop.message, stop.hint, type="Stop")
        sampler = Sampler(lambda _: None)
        sampler.start()
        try:
            artifact = run_pass(job, step.on_event, self._memory.get)
            manifest = seal_result(artifact)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - as in a worker: whatever the pass raises is its failure
            self._memory.forget(str(job.output))
            told = failure(error)
            sampler.stop()
            return Failure(told["message"], told["hint"], "" if told["known"] else told["traceback"], told["type"])
        self._memory.publish(str(job.output), manifest["digest"])
        return Success(sampler.stop(), manifest)
