"""What a search makes as good as possible, and the bounds that a candidate must keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from olive_like.errors import WorkflowError
from olive_like.graph.check_search import evaluators_of, find, measured_by
from olive_like.workflow.schema import Workflow
from olive_like.workflow.search import Constraint, Objective, SearchStrategy


@dataclass(frozen=True)
class Aim:
    """One number to make as good as possible."""

    name: str  # as measured: "accuracy-accuracy_score"
    higher: bool

    def cost(self, values: Mapping[str, float]) -> float:
        """Smaller is better."""
        return -values[self.name] if self.higher else values[self.name]


def aims(workflow: Workflow, strategy: SearchStrategy) -> list[Aim]:
    """The objectives as they are written; else the metrics with a priority; else the first."""
    measured = measured_by(workflow)
    if strategy.objectives:
        return [_aim(objective, measured) for objective in strategy.objectives]
    ranked = sorted(
        (sub.priority, f"{metric.name}-{sub.name}")
        for evaluator in evaluators_of(workflow)
        for metric in evaluator.metrics
        for sub in metric.sub_types
        if sub.priority is not None and sub.priority > 0
    )
    names = list(dict.fromkeys(name for _, name in ranked)) or [next(iter(measured))]
    return [Aim(name, measured[name]) for name in names]


def _aim(objective: Objective | str, measured: Mapping[str, bool]) -> Aim:
    written = objective if isinstance(objective, str) else objective.metric
    name = _named(written, measured)
    direction = None if isinstance(objective, str) else objective.direction
    return Aim(name, measured[name] if direction is None else direction == "max")


def _named(written: str, measured: Iterable[str]) -> str:
    """A value by the name that it was written with; check_search has seen that it is there."""
    name = find(written, measured)
    if name is None:
        raise WorkflowError(f"{written!r} was not measured", f"Measured: {', '.join(measured)}.")
    return name


def broken(
    constraints: Sequence[Constraint],
    values: Mapping[str, float],
    baseline: Mapping[str, float],
    aims_: Mapping[str, bool],
) -> list[str]:
    """The constraints that a candidate does not keep, in words."""
    found = []
    for constraint in constraints:
        name = _named(constraint.metric, values)
        value = values[name]
        if constraint.min is not None and value < constraint.min:
            found.append(f"{name} {value:.6g} < {constraint.min:g}")
        if constraint.max is not None and value > constraint.max:
            found.append(f"{name} {value:.6g} > {constraint.max:g}")
        if constraint.max_degradation is not None:
            if name not in baseline:
                raise WorkflowError(
                    f"`max_degradation` of {name} needs the input model's value", "Set `evaluate_input_model: true`."
                )
            lost = baseline[name] - value if aims_.get(name, True) else value - baseline[name]
            allowed = constraint.max_degradation * (abs(baseline[name]) if constraint.relative else 1.0)
            if lost > allowed:
                found.append(f"{name} lost {lost:.6g}, more than {allowed:.6g}")
    return found
