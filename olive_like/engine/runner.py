"""One run from plan to delivered outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.engine.cancel import CancelHandle, Interrupted
from olive_like.engine.execution import Execution, Outcome
from olive_like.engine.goals import Verdict, verdicts
from olive_like.engine.limits import Limits
from olive_like.engine.outputs import Output, deliver
from olive_like.engine.provenance import provenance
from olive_like.errors import StoreError
from olive_like.graph.model import SOURCE
from olive_like.systems.base import Launch

if TYPE_CHECKING:
    from olive_like.engine.warm import Warm


@dataclass
class Order:
    """What a run is to do besides its plan."""

    launches: Mapping[str, Launch]
    limits: Limits
    targets: Mapping[str, Path]  # output name -> folder; empty: nothing is delivered
    workflow: Mapping[str, Any]  # as written, for the record
    seed: int = 0
    in_process: bool = False
    warm: Warm | None = None  # workers that are there already, and stay
    before_delivery: Callable[[], None] | None = None  # raises where what was made must not be handed out


@dataclass
class Finished:
    """How a run ended."""

    status: str  # ok, failed or interrupted
    execution: Execution
    outputs: dict[str, Output] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)  # outputs that could not be delivered
    verdicts: list[tuple[str, Verdict]] = field(default_factory=list)  # node, goal held against its value
    seconds: float = 0.0
    reason: str = ""


def carry_out(execution: Execution, order: Order, cancel: CancelHandle) -> Finished:
    """Make what is missing, deliver the outputs, and write all of it down."""
    log, started = execution.log, time.time()
    log.write("plan.json", execution.plan.to_json())
    _write_run(execution, order, "running", started)
    log.emit("run started", run=log.run, passes=len(execution.states))
    finished = Finished("failed", execution)
    try:
        _make(execution, order, cancel)
        cancel.check()
        made = all(state.good for state in execution.states.values())
        if made and order.before_delivery is not None:
            order.before_delivery()
        _deliver(execution, order, cancel, finished, made)
        finished.verdicts = verdicts(execution) if made else []
        for node, verdict in finished.verdicts:
            log.emit("goal", node, met=verdict.met, text=verdict.text)
        reached = all(verdict.met for _, verdict in finished.verdicts)
        finished.status = "ok" if made and reached and not finished.errors else "failed"
    except KeyboardInterrupt as stop:
        finished.status, finished.reason = "interrupted", str(stop) or "interrupted"
        execution.skip_rest(finished.reason)
        if not cancel.requested:
            _end(execution, order, finished, started)
            raise
    except BaseException:
        with suppress(StoreError):  # a full disk, say, which is what the exception is about
            _end(execution, order, finished, started)
        raise
    _end(execution, order, finished, started)
    return finished


def _end(execution: Execution, order: Order, finished: Finished, started: float) -> None:
    """Write down how it ended."""
    log = execution.log
    finished.seconds = time.time() - started
    try:
        log.write("keys.json", keys_document(execution))
        log.emit("run ended", status=finished.status, seconds=round(finished.seconds, 6))
        _write_run(execution, order, finished.status, started, finished)
    finally:
        log.close()


def _make(execution: Execution, order: Order, cancel: CancelHandle) -> None:
    """Settle every node. Where all is in the store this starts nothing and imports no machinery."""
    if execution.plan.all_hits:
        for state in execution.take_ready():
            cancel.check()
            execution.look_up(state)
    while True:
        if not execution.finished:
            _work(execution, order, cancel)
        if cancel.requested:
            raise Interrupted(cancel.reason)
        damaged = [name for name in _wanted(execution) if not execution.verify(name)]
        if not damaged:
            return
        for name in damaged:
            execution.reopen(name)


def _wanted(execution: Execution) -> list[str]:
    """The nodes whose artifacts are handed out."""
    names = dict.fromkeys(execution.plan.graph.outputs.values())
    return [name for name in names if name != SOURCE and execution.states[name].good]


def _work(execution: Execution, order: Order, cancel: CancelHandle) -> None:
    if order.in_process:
        from olive_like.engine.inline import Inline

        limits = order.limits
        Inline(execution, order.launches, cancel, keep=limits.keep, fail_fast=limits.fail_fast).run()
        return
    from olive_like.engine.loop import run_scheduler

    run_scheduler(execution, order.launches, order.limits, cancel, order.warm)


def _deliver(execution: Execution, order: Order, cancel: CancelHandle, finished: Finished, made: bool) -> None:
    """Put every output into its folder; one that cannot be put there keeps no other from its own.

    The input model goes beside results, never in their stead: what has failed leaves nothing that looks like one.
    """
    for name, node in execution.plan.graph.outputs.items():
        if name not in order.targets or not (made if node == SOURCE else execution.states[node].good):
            continue
        cancel.check()
        artifact = execution.plan.source if node == SOURCE else execution.states[node].artifact
        assert artifact is not None
        story = execution.log.redactor.data(provenance(execution, node, name, order.workflow))
        try:
            output = deliver(name, artifact, order.targets[name], story)
            if node != SOURCE:
                execution.store.pin(output.digest, order.targets[name])
        except StoreError as error:
            finished.errors.append({"output": name, "message": error.message, "hint": error.hint})
            execution.log.emit("output failed", node, name=name, message=error.message, hint=error.hint)
            continue
        finished.outputs[name] = output
        execution.log.emit("output", node, name=name, **output.to_json())


def _write_run(
    execution: Execution, order: Order, status: str, started: float, finished: Finished | None = None
) -> None:
    import os
    import sys

    from olive_like import __version__

    document: dict[str, Any] = {
        "run": execution.log.run,
        "status": status,
        "started": started,
        "pid": os.getpid(),
        "workflow": execution.plan.planner.workflow,
        "versions": {"olive_like": __version__, "python": sys.version.split()[0], "platform": sys.platform},
        "snapshot": order.workflow,
    }
    if finished is not None:
        document["seconds"] = finished.seconds
        document["passes"] = [summary(execution, name) for name in execution.states]
        document["errors"] = finished.errors
        document["outputs"] = {name: output.to_json() for name, output in finished.outputs.items()}
    execution.log.write("run.json", document)


def keys_document(execution: Execution) -> dict[str, Any]:
    """Key, key document and digest of every node: what `diff` compares."""
    return {
        name: {"key": state.key, "digest": state.digest, "document": state.document or state.plan.document}
        for name, state in execution.states.items()
    }


def summary(execution: Execution, name: str) -> dict[str, Any]:
    """What became of one node, as `run --json` prints it."""
    state = execution.states[name]
    return {
        "name": name,
        "pass": state.plan.node.pass_name,
        "status": (state.outcome or Outcome.SKIPPED).value,
        "key": state.key or state.plan.key,
        "digest": state.digest,
        "seconds": round(state.seconds, 6),
        "peak_rss_bytes": state.peak_rss,
        "bytes": state.size,
        "metrics": state.metrics,
        "notes": state.notes,
        "warnings": [*state.troubles, *state.warnings],
        "error": state.error.to_json() if state.error else None,
    }
