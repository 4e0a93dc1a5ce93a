"""The Python API: `run`, `plan`, `check`.

Works in a script, a thread, a notebook and inside a running asyncio loop. Prints nothing and installs no
signal handlers. What the user can act on is raised as an `OliveLikeError`; a pass that fails is no exception
but a result that is not `ok`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.errors import OliveLikeError, PassError, StoreError, WorkflowError

if TYPE_CHECKING:
    from olive_like.diagnostics import Diagnostic
    from olive_like.engine.cancel import CancelHandle
    from olive_like.engine.outputs import Output
    from olive_like.engine.prepare import Request
    from olive_like.engine.runner import Finished
    from olive_like.graph.plan import Plan
    from olive_like.store import Store
    from olive_like.workflow.schema import Workflow

Source = "str | os.PathLike[str] | dict[str, Any] | Workflow"
Place = "str | os.PathLike[str] | None"


@dataclass(frozen=True)
class PassResult:
    """What became of one pass."""

    name: str
    type: str
    status: str  # hit, ran, failed or skipped
    key: str
    digest: str | None
    seconds: float
    peak_rss_bytes: int
    bytes: int
    metrics: Mapping[str, Any]
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    error: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "status": self.status,
            "key": self.key,
            "digest": self.digest,
            "seconds": self.seconds,
            "peak_rss_bytes": self.peak_rss_bytes,
            "bytes": self.bytes,
            "metrics": dict(self.metrics),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "error": dict(self.error) if self.error else None,
        }


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    status: str  # ok, failed or interrupted
    run_id: str
    seconds: float
    passes: Mapping[str, PassResult]
    outputs: Mapping[str, Output]
    folder: Path  # of the run: events, logs, plan
    errors: Sequence[Mapping[str, str]] = ()  # output, message, hint: what was made, but could not be delivered
    goals: Sequence[Mapping[str, Any]] = ()  # node, met, text: every goal held against what was measured
    search: Mapping[str, Any] | None = None  # trials, Pareto front and best, where settings were left open

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def raise_for_status(self) -> RunResult:
        """This result if it is ok; otherwise a PassError that names what failed."""
        if self.ok:
            return self
        for result in self.passes.values():
            if result.status == "failed" and result.error is not None:
                raise PassError(f"{result.name}: {result.error['message']}", result.error["hint"])
        for error in self.errors:
            raise StoreError(f"{error['output']}: {error['message']}", error["hint"])
        for goal in self.goals:
            if not goal["met"]:
                raise PassError(f"goal missed: {goal['node']}: {goal['text']}")
        raise PassError(f"the run was {self.status}")

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "run": self.run_id,
            "seconds": self.seconds,
            "passes": [result.to_json() for result in self.passes.values()],
            "outputs": {name: output.to_json() for name, output in self.outputs.items()},
            "errors": [dict(error) for error in self.errors],
            "goals": [dict(goal) for goal in self.goals],
            "search": dict(self.search) if self.search is not None else None,
        }


@dataclass(frozen=True)
class CheckResult:
    """What is wrong with a workflow."""

    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return not any(diagnostic.severity == "error" for diagnostic in self.diagnostics)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "diagnostics": [diagnostic.to_json() for diagnostic in self.diagnostics]}


def run(
    source: str | os.PathLike[str] | dict[str, Any] | Workflow,
    *,
    overrides: Sequence[str] = (),
    jobs: int | None = None,
    until: str | None = None,
    only: str | None = None,
    again: Sequence[str] = (),
    output_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    in_process: bool = False,
    fail_fast: bool = False,
    retries: int = 0,
    timeout: float | None = None,
    locked: bool = False,
    lock: bool = False,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    cancel: CancelHandle | None = None,
) -> RunResult:
    """Run a workflow: a file, a mapping, or a Workflow.

    `jobs` passes run side by side; `until` and `only` name a pass to stop at, or to run alone; `again` names
    those to run whatever the cache has, whose results are replaced; `retries` is how often a pass whose worker was
    lost is tried again; `timeout` is in seconds per pass. `lock` writes a
    lock file beside the workflow's file, `locked` holds the run to it. `on_event` gets every event of the run,
    possibly from another thread. `cancel.cancel()`, from any thread, ends the run.
    """
    from olive_like.engine.prepare import Request, execute
    from olive_like.graph.check_search import is_open
    from olive_like.graph.planning import graph_of

    request = Request(
        jobs=jobs,
        until=until,
        only=only,
        again=tuple(again),
        output_dir=Path(output_dir).absolute() if output_dir is not None else None,
        in_process=in_process,
        fail_fast=fail_fast,
        retries=retries,
        timeout=timeout,
        locked=locked,
        lock=lock,
    )
    workflow = _read(source, overrides)
    warnings: list[str] = []
    with _store(workflow, cache_dir, warnings.append) as store:
        if until is None and only is None and is_open(workflow):
            _check_search_request(request)
            from olive_like.engine.cancel import CancelHandle
            from olive_like.search.deliver import run_search

            best, found = run_search(workflow, store, request, warnings, on_event, cancel or CancelHandle())
            return _reported(best, on_event, found.to_json())
        if is_open(workflow):
            from olive_like.search.space import dimensions

            names = ", ".join(dimension.name for dimension in dimensions(workflow)[:5])
            warnings.append(f"a part of a workflow is not searched: the first value is taken of {names}")
        graph = graph_of(workflow)
        said = [*workflow.warnings, *graph.warnings]
        return _reported(execute(workflow, store, request, warnings, on_event, cancel, graph, said=said), on_event)


def _check_search_request(request: Request) -> None:
    """Refuse what means nothing for a search."""
    if request.again:
        raise WorkflowError(
            "a search has many results of one pass: which is to be made again cannot be said",
            "Leave out --again, or give the open settings values with --set.",
        )
    if request.lock or request.locked:
        raise WorkflowError(
            "a search cannot be locked: it is the best workflow that is made again",
            "Run the best.yaml that the search writes with --lock.",
        )


def plan(
    source: str | os.PathLike[str] | dict[str, Any] | Workflow,
    *,
    overrides: Sequence[str] = (),
    until: str | None = None,
    only: str | None = None,
    again: Sequence[str] = (),
    cache_dir: str | os.PathLike[str] | None = None,
) -> Plan:
    """What a run would do, and why."""
    from olive_like.graph.planning import plan_workflow

    workflow = _read(source, overrides)
    with _store(workflow, cache_dir) as store:
        return plan_workflow(workflow, store, until=until, only=only, again=again)


def check(
    source: str | os.PathLike[str] | dict[str, Any] | Workflow, *, overrides: Sequence[str] = (), files: bool = True
) -> CheckResult:
    """Everything that is wrong with a workflow, found without running it.

    `files` says whether to look if the files that it names are there.
    """
    from olive_like.graph.check import diagnose
    from olive_like.workflow.read import read

    return CheckResult(tuple(diagnose(read(_known(source), overrides), files=files)))


def _read(source: Any, overrides: Sequence[str]) -> Workflow:
    from olive_like.workflow.read import read

    return read(_known(source), overrides).require()


def _known(source: Any) -> Any:
    """The source, if it is of a kind that workflows are made of."""
    from olive_like.workflow.schema import Workflow

    if not isinstance(source, (str, os.PathLike, dict, Workflow)):
        raise WorkflowError(
            f"a workflow is a file's path, a mapping or a Workflow, not {type(source).__name__}",
            "Name a file: run('workflow.yaml').",
        )
    return source


def _store(workflow: Workflow, cache_dir: Any, on_warning: Callable[[str], None] = lambda _: None) -> Store:
    """The store that a workflow uses: the one asked for, its own, or the user's."""
    from olive_like.store import Store, default_root

    if cache_dir is not None:
        root = Path(cache_dir).expanduser().absolute()
    elif workflow.cache_dir is not None:
        root = workflow.resolve(workflow.cache_dir)
    else:
        root = default_root()
    return Store(root, on_warning)


def _reported(
    finished: Finished, on_event: Callable[[dict[str, Any]], None] | None, search: Mapping[str, Any] | None = None
) -> RunResult:
    """The result, its report written; that a report cannot be written changes nothing about the run."""
    from olive_like.report import report_run

    try:
        report_run(finished, search is not None)
    except (OSError, OliveLikeError) as error:
        if on_event is not None:
            on_event({"event": "warning", "text": f"the report could not be written: {error}"})
    return _result(finished, search)


def _result(finished: Finished, search: Mapping[str, Any] | None = None) -> RunResult:
    from olive_like.engine.runner import summary

    execution = finished.execution
    passes: dict[str, PassResult] = {}
    for name in execution.states:
        fields = summary(execution, name)
        passes[name] = PassResult(type=fields.pop("pass"), **fields)
    for name, state in execution.states.items():
        # What was measured of a pass's result is found at the pass as well.
        measured = passes.get(name.removesuffix(".metrics"))
        if name.endswith(".metrics") and measured is not None and state.metrics:
            merged = {**measured.metrics, **state.metrics}
            passes[measured.name] = PassResult(**{**vars(measured), "metrics": merged})
    goals = [{"node": node, "met": verdict.met, "text": verdict.text} for node, verdict in finished.verdicts]
    return RunResult(
        finished.status,
        execution.log.run,
        finished.seconds,
        passes,
        finished.outputs,
        execution.log.folder,
        finished.errors,
        goals,
        search,
    )


__all__ = ["CheckResult", "OliveLikeError", "PassResult", "RunResult", "WorkflowError", "check", "plan", "run"]
