"""What a search makes as good as possible, and the bounds that a candidate must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from olive_like.diagnostics.nearest import did_you_mean
from olive_like.errors import WorkflowError
from olive_like.metrics.config import Evaluator
from olive_like.metrics.goals import higher_is_better
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


def measured_by(workflow: Workflow) -> dict[str, bool]:
    """Every value that the workflow's evaluators measure, and whether more of it is better."""
    found: dict[str, bool] = {}
    for evaluator in _evaluators(workflow):
        for metric in evaluator.metrics:
            for sub in metric.sub_types:
                found[f"{metric.name}-{sub.name}"] = higher_is_better(metric, sub)
            if not metric.sub_types:
                from olive_like.metrics.catalog import DEFAULTS, values_of

                default = DEFAULTS.get(metric.type)
                if default:
                    found[f"{metric.name}-{default}"] = values_of(metric.type)[default].higher_is_better
    return found


def aims(workflow: Workflow, strategy: SearchStrategy) -> list[Aim]:
    """The objectives as they are written; else the metrics with a priority; else the first."""
    measured = measured_by(workflow)
    if not measured:
        raise WorkflowError(
            "a search needs an evaluator: it has nothing to compare candidates by",
            "Add `evaluators:` and name one with `evaluator:`.",
        )
    if strategy.objectives:
        return [_aim(objective, measured) for objective in strategy.objectives]
    ranked = sorted(
        (sub.priority, f"{metric.name}-{sub.name}")
        for evaluator in _evaluators(workflow)
        for metric in evaluator.metrics
        for sub in metric.sub_types
        if sub.priority is not None and sub.priority > 0
    )
    names = list(dict.fromkeys(name for _, name in ranked)) or [next(iter(measured))]
    return [Aim(name, measured[name]) for name in names]


def _aim(objective: Objective | str, measured: Mapping[str, bool]) -> Aim:
    written = objective if isinstance(objective, str) else objective.metric
    name = find(written, measured)
    direction = None if isinstance(objective, str) else objective.direction
    return Aim(name, measured[name] if direction is None else direction == "max")


def find(written: str, measured: Mapping[str, Any]) -> str:
    """`accuracy` or `latency.p90` as the value is called; an error that lists those there are."""
    for name in measured:
        metric, _, sub = name.partition("-")
        if written in (name, metric, f"{metric}.{sub}"):
            return name
    raise WorkflowError(
        f"{written!r} is not measured", did_you_mean(written, list(measured)) or f"Measured: {', '.join(measured)}."
    )


def broken(
    constraints: Sequence[Constraint],
    values: Mapping[str, float],
    baseline: Mapping[str, float],
    aims_: Mapping[str, bool],
) -> list[str]:
    """The constraints that a candidate does not keep, in words."""
    found = []
    for constraint in constraints:
        name = find(constraint.metric, values)
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


def contradictions(constraints: Sequence[Constraint]) -> list[str]:
    """Constraints that nothing can keep."""
    bounds: dict[str, tuple[float, float]] = {}
    found = []
    for constraint in constraints:
        low, high = bounds.get(constraint.metric, (float("-inf"), float("inf")))
        low = max(low, constraint.min if constraint.min is not None else low)
        high = min(high, constraint.max if constraint.max is not None else high)
        bounds[constraint.metric] = low, high
        if low > high:
            found.append(f"{constraint.metric} cannot be at least {low:g} and at most {high:g}")
    return found


def _evaluators(workflow: Workflow) -> list[Evaluator]:
    named = [entry.evaluator for entry in workflow.passes.values() if entry.evaluator is not None]
    if workflow.evaluator is not None:
        named.append(workflow.evaluator)
    return [workflow.evaluators[e] if isinstance(e, str) else e for e in named]
