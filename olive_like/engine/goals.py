"""The goals of a run, held against what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from olive_like.engine.comparison import number
from olive_like.engine.execution import Execution
from olive_like.graph.model import SOURCE, Role


class Verdict(NamedTuple):
    """One goal, met or not, in words."""

    met: bool
    text: str


def verdicts(execution: Execution) -> list[tuple[str, Verdict]]:
    """A verdict for every goal of every measured node."""
    measured = {
        name: state for name, state in execution.states.items() if state.plan.node.role is Role.METRICS and state.good
    }
    if not measured:
        return []
    from olive_like.metrics.goals import judge

    baseline = measured.get(f"{SOURCE}.metrics")
    return [
        (name, Verdict(verdict.met, verdict.text))
        for name, state in measured.items()
        if state is not baseline
        for verdict in judge(
            state.plan.node.config.evaluator,  # type: ignore[attr-defined]
            _numbers(state.metrics),
            _numbers(baseline.metrics) if baseline else None,
        )
    ]


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, entry in metrics.items() if (value := number(entry)) is not None}
