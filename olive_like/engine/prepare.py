"""From a request to a run: plan, check what the passes need, lay out where everything goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.engine.cancel import CancelHandle
from olive_like.engine.events import RunLog, new_run_id
from olive_like.engine.execution import Execution, Watch
from olive_like.engine.limits import Limits
from olive_like.engine.placing import workplace
from olive_like.engine.runner import Finished, Order, carry_out
from olive_like.errors import WorkflowError
from olive_like.graph.model import Graph
from olive_like.graph.places import place_of
from olive_like.graph.plan import Plan, PlanNode, Status
from olive_like.graph.planning import plan_workflow, system_of
from olive_like.redact import Redactor
from olive_like.store import Store
from olive_like.systems.base import Launch
from olive_like.systems.machine import this_machine
from olive_like.workflow.schema import Workflow

if TYPE_CHECKING:
    from olive_like.diagnostics import Diagnostic
    from olive_like.engine.warm import Warm

_MOST_SAID = 20
_OUTPUTS = "outputs"  # beside the workflow's file, where nothing else is said


@dataclass(frozen=True)
class Request:
    """What the user asks for besides the workflow."""

    jobs: int | None = None
    until: str | None = None
    only: str | None = None
    again: tuple[str, ...] = ()
    output_dir: Path | None = None
    in_process: bool = False
    fail_fast: bool = False
    retries: int = 0
    timeout: float | None = None
    locked: bool = False
    lock: bool = False

    @property
    def part(self) -> bool:
        """Whether not all of the workflow is to run."""
        return (self.until or self.only) is not None


def execute(
    workflow: Workflow,
    store: Store,
    request: Request,
    warnings: list[str],
    on_event: Callable[[dict[str, Any]], None] | None = None,
    cancel: CancelHandle | None = None,
    graph: Graph | None = None,
    watch: Watch | None = None,
    warm: Warm | None = None,
    said: Sequence[Diagnostic] = (),
) -> Finished:
    """Plan and run a workflow, or a graph that was made of it; `watch` may stop single passes.

    `said` is what was noticed in reading the workflow: it is told when the run begins.
    """
    _check_request(workflow, request)
    plan = plan_workflow(workflow, store, until=request.until, only=request.only, again=request.again, graph=graph)
    lock = _read_lock(workflow, plan, part=request.part) if request.locked else None
    if plan.source is None and workflow.input_model is not None:
        plan = _with_model(workflow, store, request, graph)
    to_run = [node for node in plan.nodes.values() if node.status is not Status.HIT]
    launches = _launches(workflow, to_run or plan.nodes.values(), request)
    _check_needs(workflow, to_run, launches, request)
    targets = _targets(workflow, plan, request)
    _check_targets(targets)
    run = new_run_id()
    redactor = Redactor()
    log = RunLog((store.over or store).layout.runs / run, run, redactor, on_event)
    store.on_warning = lambda text: log.emit("warning", text=text)
    execution = Execution(plan, store, log, workflow.seed, watch)
    order = Order(
        launches=launches,
        limits=_limits(request),
        targets=targets,
        workflow=snapshot(workflow),
        seed=workflow.seed,
        in_process=request.in_process,
        warm=warm,
    )
    for text in warnings:
        log.emit("warning", text=text)
    for kind, text in told(said):
        log.emit(kind, text=text)
    if lock is not None:
        order.before_delivery = partial(_hold_to, lock, execution)
    finished = carry_out(execution, order, cancel or CancelHandle())
    if finished.status == "ok" and request.lock:
        _write_lock(workflow, execution)
    return finished


def told(said: Sequence[Diagnostic]) -> Iterator[tuple[str, str]]:
    """Severity and text of each diagnostic in a line; of very many the first."""
    for one in said[:_MOST_SAID]:
        place = f"{one.file}:{one.line}: " if one.file and one.line else ""
        yield one.severity.value, f"{place}{one.message} ({one.code})"
    if len(said) > _MOST_SAID:
        yield "note", f"{len(said) - _MOST_SAID} more warnings and notes: `olive-like check` has them all"


def _hold_to(lock: Mapping[str, Any], execution: Execution) -> None:
    """Refuse results other than the locked ones."""
    from olive_like.graph import lock as lock_file

    lock_file.check_outputs(digests(execution), lock)


def digests(execution: Execution) -> dict[str, str]:
    """The digest of every node's result."""
    return {name: str(execution.known(name).digest) for name, state in execution.states.items() if state.good}


def snapshot(workflow: Workflow) -> dict[str, Any]:
    """The workflow as it was written, overrides included."""
    return {"file": workflow.file, "content": plain(workflow.tree)}


def plain(value: Any) -> Any:
    """JSON data of whatever a workflow was made of."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _check_request(workflow: Workflow, request: Request) -> None:
    if request.jobs is not None and request.jobs < 1:
        raise WorkflowError(f"jobs must be 1 or more, not {request.jobs}")
    if request.in_process and request.timeout is not None:
        raise WorkflowError(
            "a pass that runs in this very process cannot be ended when its time is up",
            "Leave out the timeout, or --in-process.",
        )
    if (request.lock or request.locked) and workflow.file is None:
        raise WorkflowError("only a workflow in a file can be locked")
    if request.lock and request.part:
        raise WorkflowError("a lock is of the whole workflow", "Leave out --until and --only to write one.")


def _with_model(workflow: Workflow, store: Store, request: Request, graph: Graph | None) -> Plan:
    """The input model is named, but not on this machine: bring it, and plan with what it is."""
    from olive_like.engine.download import download

    download(workflow)
    plan = plan_workflow(workflow, store, until=request.until, only=request.only, again=request.again, graph=graph)
    if plan.source is None:
        raise WorkflowError(
            "the input model was downloaded, but its weights are not to be found in the hub's cache",
            "Only weights as safetensors are fetched; bring others as a local folder.",
        )
    return plan


def _launches(workflow: Workflow, nodes: Iterable[PlanNode], request: Request) -> dict[str, Launch]:
    launches: dict[str, Launch] = {}
    for name in {node.node.system for node in nodes}:
        cls, config = system_of(workflow, name)
        launches[name] = cls.launch(config, this_machine(), request.jobs)
    return launches


def _check_needs(
    workflow: Workflow, nodes: Sequence[PlanNode], launches: Mapping[str, Launch], request: Request
) -> None:
    """Refuse what could only fail after hours: systems that cannot work here, libraries that are missing."""
    from olive_like.graph.needs import install_command, needs_of

    for name, launch in launches.items():
        cls, config = system_of(workflow, name)
        here = [node.node for node in nodes if node.node.system == name]
        for trouble in place_of(cls, config, this_machine(), here).troubles:
            raise WorkflowError(f"the system {name} cannot work here: {trouble.message}", trouble.hint)
        if request.in_process and (launch.ranks > 1 or launch.command):
            raise WorkflowError(f"the system {name} starts processes of its own and cannot run in-process")
    for node in nodes:
        launch = launches[node.node.system]
        if launch.command and launch.single is None and not launch.libraries_here:
            continue  # another environment, with libraries of its own
        for missing in needs_of(node.node).missing:
            raise WorkflowError(
                f"{node.node.name} ({node.node.pass_name}) needs {missing}, which is not installed",
                install_command(missing),
            )


def _limits(request: Request) -> Limits:
    memory = this_machine().memory
    return Limits(
        jobs=request.jobs,
        memory=memory * 9 // 10,
        keep=memory // 4,
        fail_fast=request.fail_fast,
        retries=request.retries,
        timeout=request.timeout,
    )


def _targets(workflow: Workflow, plan: Plan, request: Request) -> dict[str, Path]:
    """Where each output goes."""
    base = request.output_dir or workflow.resolve(workflow.output_dir or _OUTPUTS)
    names = list(plan.graph.outputs)
    if workflow.layout == "olive" and len(names) == 1:
        return {names[0]: base}
    return {name: base / name for name in names}


def _check_targets(targets: Mapping[str, Path]) -> None:
    """Refuse, before anything runs, folders that cannot be made."""
    for name, folder in targets.items():
        place = workplace(folder)
        there = next(path for path in (place, *place.parents) if path.exists())
        if file := next((path for path in (folder, there) if path.exists() and not path.is_dir()), None):
            why = f"{file} is a file"
        elif not os.access(there, os.W_OK | os.X_OK):
            why = f"nothing may be written in {there}"
        else:
            continue
        raise WorkflowError(
            f"the output {name} cannot be put into {folder}: {why}", "Set `output_dir:`, or give --output-path."
        )


def _read_lock(workflow: Workflow, plan: Plan, *, part: bool) -> Mapping[str, Any]:
    from olive_like.graph import lock as lock_file

    assert workflow.file is not None
    lock = lock_file.read(lock_file.lock_path(Path(workflow.file)))
    lock_file.check_plan(plan, lock, part=part)
    return lock


def _write_lock(workflow: Workflow, execution: Execution) -> None:
    from olive_like.graph import lock as lock_file

    assert workflow.file is not None
    source = execution.plan.source
    lock = lock_file.lock_of(
        {name: state.document for name, state in execution.states.items()},
        {name: state.key for name, state in execution.states.items()},
        digests(execution),
        {"kind": source.kind, "digest": source.digest} if source else None,
    )
    lock_file.write(lock, lock_file.lock_path(Path(workflow.file)))
