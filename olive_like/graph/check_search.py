"""What a search makes as good as possible, and what can be said about it before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from olive_like.diagnostics import Severity
from olive_like.diagnostics.nearest import did_you_mean
from olive_like.workflow.entries import PassEntry

if TYPE_CHECKING:
    from olive_like.metrics.config import Evaluator
    from olive_like.workflow.problems import Problems
    from olive_like.workflow.schema import Workflow
    from olive_like.workflow.search import Constraint, SearchStrategy


def check_search(workflow: Workflow, problems: Problems) -> None:
    """Note what is wrong with a workflow's search strategy, or with its open settings without one."""
    strategy = workflow.search_strategy
    open_ = is_open(workflow)
    if not open_:
        return
    measured = measured_by(workflow)
    said = any(d.severity is Severity.ERROR and d.field.startswith("evaluator") for d in workflow.warnings)
    if not measured and not said:
        problems.add("OL505", "a search needs an evaluator: it has nothing to compare candidates by", _place(workflow),
                     "Add `evaluators:` and name one with `evaluator:`.", key=True)  # fmt: skip
    if strategy is not None:
        _check_strategy(workflow, strategy, measured, problems)


def _check_strategy(
    workflow: Workflow, strategy: SearchStrategy, measured: Mapping[str, bool], problems: Problems
) -> None:
    named: list[tuple[str, tuple[Any, ...]]] = []
    for index, objective in enumerate(strategy.objectives):
        text = isinstance(objective, str)
        place = ("search_strategy", "objectives", index)
        named.append((str(objective), place) if text else (objective.metric, (*place, "metric")))  # type: ignore[union-attr]
    for index, constraint in enumerate(strategy.constraints):
        named.append((constraint.metric, ("search_strategy", "constraints", index, "metric")))
    for name, place in named if measured else ():
        if find(name, measured) is None:
            near = did_you_mean(name, [*measured, *(m.partition("-")[0] for m in measured)])
            problems.add("OL502", f"{name!r} is not measured", place, near or f"Measured: {', '.join(measured)}.")
    for message, index in contradictions(strategy.constraints, measured):
        problems.add("OL504", message, ("search_strategy", "constraints", index), "Loosen one of the constraints.")
    if any(c.max_degradation is not None for c in strategy.constraints) and workflow.input_model is None:
        problems.add("OL503", "`max_degradation` compares with the input model, and there is none",
                     ("search_strategy", "constraints"))  # fmt: skip
    if strategy.sampler == "grid":
        for place in _endless(workflow):
            problems.add("OL506", f"`{place[-1]}` has no end of values, and a grid tries them all", place,
                         "Give it a `step` or a `choice`, or use `sampler: random`.")  # fmt: skip


def is_open(workflow: Workflow) -> bool:
    """Whether anything is left open: a setting, or which of several passes is taken."""
    return any(entry.spaces or entry.alternatives or entry.skips for entry in workflow.passes.values())


def entries_of(workflow: Workflow) -> Iterator[PassEntry]:
    """Every pass, alternatives one by one."""
    for entry in workflow.passes.values():
        yield entry
        yield from entry.alternatives


def _endless(workflow: Workflow) -> Iterator[tuple[Any, ...]]:
    for entry in entries_of(workflow):
        for path, space in entry.spaces.items():
            if (space.kind == "float" and not space.step) or (space.kind == "int" and space.log):
                inner = workflow.written((*entry.loc, "config"))
                nested = isinstance(inner, dict) and path[0] in inner
                yield (*entry.loc, "config", *path) if nested else (*entry.loc, *path)


def _place(workflow: Workflow) -> tuple[Any, ...]:
    """Where the search is written: its strategy, else the first thing that is left open."""
    if workflow.search_strategy is not None:
        return ("search_strategy",)
    return next(("passes", name) for name, e in workflow.passes.items() if e.spaces or e.alternatives or e.skips)


def evaluators_of(workflow: Workflow) -> list[Evaluator]:
    """The evaluators that something is measured by."""
    named = [entry.evaluator for entry in entries_of(workflow) if entry.evaluator is not None]
    if workflow.evaluator is not None:
        named.append(workflow.evaluator)
    found = [workflow.evaluators.get(e) if isinstance(e, str) else e for e in named]
    return [evaluator for evaluator in found if evaluator is not None]


def measured_by(workflow: Workflow) -> dict[str, bool]:
    """Every value that the workflow's evaluators measure, and whether more of it is better."""
    from olive_like.metrics.catalog import DEFAULTS, SPEED, values_of
    from olive_like.metrics.goals import higher_is_better

    found: dict[str, bool] = {}
    for evaluator in evaluators_of(workflow):
        for metric in evaluator.metrics:
            for sub in metric.sub_types:
                found[f"{metric.name}-{sub.name}"] = higher_is_better(metric, sub)
            if metric.sub_types:
                continue
            defaults = SPEED["generation"] if metric.type == "generation" else [DEFAULTS.get(metric.type)]
            for name in defaults:
                if name is not None:
                    found[f"{metric.name}-{name}"] = values_of(metric.type)[name].higher_is_better
    return found


def find(written: str, measured: Iterable[str]) -> str | None:
    """`accuracy` or `latency.p90` as the value is called, if it is measured."""
    names = list(measured)
    exact = [name for name in names if name in (written, written.replace(".", "-", 1))]
    # Names may have a dash of their own (`map 50-95`): of several that begin like this the plainest is meant.
    starting = sorted((name for name in names if name.startswith(f"{written}-")), key=lambda name: name.count("-"))
    return next(iter([*exact, *starting]), None)


def contradictions(constraints: Sequence[Constraint], measured: Iterable[str] = ()) -> list[tuple[str, int]]:
    """Constraints that nothing can keep, with the number of the one that makes it so."""
    names = list(measured)
    bounds: dict[str, tuple[float, float]] = {}
    found = []
    for index, constraint in enumerate(constraints):
        name = find(constraint.metric, names) or constraint.metric  # a value may be written in several ways
        low, high = bounds.get(name, (float("-inf"), float("inf")))
        low = max(low, constraint.min if constraint.min is not None else low)
        high = min(high, constraint.max if constraint.max is not None else high)
        bounds[name] = low, high
        if low > high:
            found.append((f"{constraint.metric} cannot be at least {low:g} and at most {high:g}", index))
    return found
