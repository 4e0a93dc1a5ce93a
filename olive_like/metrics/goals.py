"""Goals: what a value must reach, by itself or against the input model's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from olive_like.metrics.catalog import AGAINST_REFERENCE, values_of
from olive_like.metrics.config import Evaluator, Goal, Metric, SubMetric

_AGAINST_INPUT = ("min-improvement", "percent-min-improvement", "max-degradation", "percent-max-degradation")


@dataclass(frozen=True)
class Verdict:
    """A goal held against what was measured."""

    name: str  # "accuracy-accuracy_score"
    met: bool
    text: str


def judge(evaluator: Evaluator, values: Mapping[str, float], baseline: Mapping[str, float] | None) -> list[Verdict]:
    """A verdict for every goal; `baseline` is what was measured of the input model."""
    verdicts = []
    for metric in evaluator.metrics:
        for sub in metric.sub_types:
            if sub.goal is not None:
                name = f"{metric.name}-{sub.name}"
                up = higher_is_better(metric, sub)
                verdicts.append(_judge(name, sub.goal, up, values.get(name), (baseline or {}).get(name)))
    return verdicts


def higher_is_better(metric: Metric, sub: SubMetric) -> bool:
    """Which way a value is better: the user's word, else what its kind says."""
    if sub.higher_is_better is not None:
        return sub.higher_is_better
    known = values_of(metric.type).get(sub.name)
    return known.higher_is_better if known else True


def needs_baseline(evaluator: Evaluator) -> bool:
    """Whether a goal compares with the input model."""
    return bool(compared_values(evaluator))


def compared_values(evaluator: Evaluator) -> list[str]:
    """The values whose goals compare with the input model."""
    return [
        f"{metric.name}-{sub.name}"
        for metric in evaluator.metrics
        for sub in metric.sub_types
        if sub.goal is not None and sub.goal.type in _AGAINST_INPUT
    ]


def needs_reference(evaluator: Evaluator) -> bool:
    """Whether a metric compares a model's answers with those of the input model."""
    return any(sub.name in AGAINST_REFERENCE for m in evaluator.metrics if m.type == "accuracy" for sub in m.sub_types)


def _judge(name: str, goal: Goal, up: bool, value: float | None, old: float | None) -> Verdict:
    if value is None:
        return Verdict(name, False, f"{name} was not measured")
    if goal.type == "threshold":
        met = value >= goal.value if up else value <= goal.value
        return Verdict(name, met, f"{name} is {value:.6g}, wanted {'at least' if up else 'at most'} {goal.value:g}")
    if old is None:
        return Verdict(name, False, f"{name} has no value of the input model to compare with: set evaluate_input_model")
    gain = value - old if up else old - value
    if goal.type.startswith("percent-"):
        gain = 100 * gain / abs(old) if old else math.copysign(math.inf, gain) if gain else 0.0
    wanted = goal.value if goal.type.endswith("min-improvement") else -goal.value
    unit = " %" if goal.type.startswith("percent-") else ""
    word = "improved" if gain >= 0 else "degraded"
    text = f"{name} {word} by {abs(gain):.6g}{unit} ({old:.6g} → {value:.6g}), wanted {goal.type} {goal.value:g}{unit}"
    return Verdict(name, gain >= wanted, text)
