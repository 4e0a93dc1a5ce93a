"""The work of Evaluate: every metric of an evaluator, written as one metrics.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from olive_like.artifacts import Artifact, Metrics, NullArtifact
from olive_like.data.config import DataConfig
from olive_like.errors import PassError
from olive_like.metrics.catalog import DEFAULTS, SPEED, values_of
from olive_like.metrics.config import Evaluator, Metric, SubMetric
from olive_like.metrics.goals import higher_is_better
from olive_like.passes.base import Context
from olive_like.passes.measure._size import size_on_disk

if TYPE_CHECKING:
    from olive_like.passes.measure._examples import Examples
    from olive_like.passes.measure._runtimes import Runtime

# What torch and onnxruntime are needed for is imported where it is measured: a size needs neither.

Found = dict[str, tuple[float, float | None]]


def evaluate(model: Artifact, evaluator: Evaluator, context: Context) -> Metrics:
    """Measure everything that the evaluator asks for."""
    bench = _Bench(model, context)
    values: dict[str, dict[str, Any]] = {}
    for metric in evaluator.metrics:
        wanted = _wanted(metric)
        found = bench.measure(metric, wanted)
        known = values_of(metric.type)
        for sub in wanted or [SubMetric(name=name) for name in found]:
            if sub.name not in found:
                raise PassError(
                    f"{metric.name} has no value called {sub.name}", f"There are: {', '.join(sorted(found))}."
                )
            value, spread = found[sub.name]
            name = f"{metric.name}-{sub.name}"
            values[name] = {
                "value": value,
                "spread": spread,
                "higher_is_better": higher_is_better(metric, sub),
                "unit": known[sub.name].unit if sub.name in known else "",
                "priority": sub.priority,
            }
            context.metric(name, value)
    (context.output / "metrics.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    return Metrics(context.output, {"names": sorted(values)})


def _wanted(metric: Metric) -> list[SubMetric]:
    if metric.sub_types or metric.type == "custom":
        return list(metric.sub_types)
    if metric.type == "generation":
        return [SubMetric(name=name) for name in SPEED["generation"]]
    return [SubMetric(name=DEFAULTS[metric.type])]


class _Bench:
    """The model, opened once, and the examples of each data set, read once."""

    def __init__(self, model: Artifact, context: Context) -> None:
        self.model, self.context = model, context
        self._runtime: Runtime | None = None
        self._examples: dict[str, Examples] = {}

    @property
    def runtime(self) -> Runtime:
        from olive_like.passes.measure._runtimes import open_runtime

        if self._runtime is None:
            self._runtime = open_runtime(self.model, self.context)
        return self._runtime

    def measure(self, metric: Metric, wanted: list[SubMetric]) -> Found:
        """The values of one metric."""
        if metric.user_config.evaluate_func or metric.user_config.metric_func:
            from olive_like.passes.measure._custom import custom

            return custom(metric, self.model, self, self.context)
        if metric.type == "size_on_disk":
            return size_on_disk(self.model)
        if metric.type == "accuracy":
            from olive_like.passes.measure._quality import measure

            names = {sub.name: sub.metric_config for sub in wanted}
            return measure(metric, names, self.examples(metric), self.runtime, self.context)
        return self._speed(metric)

    def _speed(self, metric: Metric) -> Found:
        from olive_like.passes.measure import _speed

        match metric.type:
            case "latency" | "throughput":
                return _speed.latency(metric, self.runtime, self.context)
            case "generation":
                return _speed.generation(metric, self.runtime)
            case "load_time":
                return _speed.load_time(self.model, self.context)
            case _:
                raise PassError(f"{metric.type} cannot be measured here")

    def examples(self, metric: Metric) -> Examples:
        """The examples that a metric is measured on."""
        from olive_like.passes.measure._examples import Examples

        if isinstance(self.model, NullArtifact):
            raise PassError("the pretend model can only be measured for size_on_disk")
        if not isinstance(metric.data_config, DataConfig):
            raise PassError(f"{metric.name} needs data", "Name a data set with `data_config`.")
        key = metric.data_config.model_dump_json()
        if key not in self._examples:
            self._examples[key] = Examples(self.model, metric.data_config, self.context.seed)
        return self._examples[key]
