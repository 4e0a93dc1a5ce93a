"""The work of Evaluate: every metric of an evaluator, written as one metrics.json."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from olive_like.artifacts import Artifact, Metrics, NullArtifact
from olive_like.data.config import DataConfig
from olive_like.errors import PassError
from olive_like.metrics.catalog import AGAINST_REFERENCE, DEFAULTS, HARNESSES, SPEED, values_of
from olive_like.metrics.config import Evaluator, Metric, SubMetric
from olive_like.metrics.goals import higher_is_better
from olive_like.passes.base import Context
from olive_like.passes.measure._size import size_on_disk

if TYPE_CHECKING:
    from olive_like.passes.measure._examples import Examples
    from olive_like.passes.measure._runtimes import Arrays, Runtime

# What torch and onnxruntime are needed for is imported where it is measured: a size needs neither.

Found = dict[str, tuple[float, float | None]]


def evaluate(model: Artifact, reference: Artifact, evaluator: Evaluator, context: Context) -> Metrics:
    """Measure everything that the evaluator asks for; `reference` is what some metrics compare with."""
    bench = Bench(model, reference, context)
    values: dict[str, dict[str, Any]] = {}
    for metric in evaluator.metrics:
        for name in ("shared_kv_buffer", "run_kwargs"):
            if getattr(metric.user_config, name):
                context.note(f"{metric.name}: `{name}` has no effect here")
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
            if not math.isfinite(value):
                raise PassError(f"{name} is {value}", "The model's answers are no numbers: it may be damaged.")
            values[name] = {
                "value": value,
                "spread": spread if spread is not None and math.isfinite(spread) else None,
                "higher_is_better": higher_is_better(metric, sub),
                "unit": known[sub.name].unit if sub.name in known else "",
                "priority": sub.priority,
            }
            context.metric(name, value)
    (context.output / "metrics.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    return Metrics(context.output, {"names": sorted(values)})


def _wanted(metric: Metric) -> list[SubMetric]:
    if metric.sub_types or metric.type in ("custom", *HARNESSES):
        return list(metric.sub_types)
    if metric.type == "generation":
        return [SubMetric(name=name) for name in SPEED["generation"]]
    return [SubMetric(name=DEFAULTS[metric.type])]


class Bench:
    """The models, opened once, and the examples of each data set, read once."""

    def __init__(self, model: Artifact, reference: Artifact, context: Context) -> None:
        self.model, self.reference, self.context = model, reference, context
        self._runtimes: dict[str, Runtime] = {}
        self._examples: dict[str, Examples] = {}

    def runtime_for(self, metric: Metric) -> Runtime:
        """The model, opened the way that the metric asks for."""
        return self._open("model", self.model, metric)

    def _open(self, which: str, model: Artifact, metric: Metric, task: str | None = None) -> Runtime:
        from olive_like.passes.measure._runtimes import open_runtime

        settings = dict(metric.user_config.inference_settings)
        if metric.user_config.io_bind:
            settings["io_bind"] = True
        key = f"{which} {task} {json.dumps(settings, sort_keys=True)}"
        if key not in self._runtimes:
            self._runtimes[key] = open_runtime(model, self.context, task, settings)
        return self._runtimes[key]

    def measure(self, metric: Metric, wanted: list[SubMetric]) -> Found:
        """The values of one metric."""
        if metric.user_config.evaluate_func or metric.user_config.metric_func:
            from olive_like.passes.measure._custom import custom

            return custom(metric, self.model, self, self.context)
        if metric.type == "size_on_disk":
            return size_on_disk(self.model)
        if metric.type == "lm_eval":
            from olive_like.passes.measure._lm_eval import lm_eval

            return lm_eval(metric, self.model, self.runtime_for(metric), self.context)
        if metric.type == "mteb":
            from olive_like.passes.measure._mteb import mteb

            return mteb(metric, self.model, self._open("model", self.model, metric, "feature-extraction"), self.context)
        if isinstance(self.model, NullArtifact):
            raise PassError("the pretend model can only be measured for size_on_disk")
        if metric.type == "accuracy":
            return self._quality(metric, wanted)
        return self._speed(metric)

    def _quality(self, metric: Metric, wanted: list[SubMetric]) -> Found:
        from olive_like.passes.measure import _against, _quality

        examples, runtime = self.examples(metric), self.runtime_for(metric)
        found: Found = {}
        compared = [sub.name for sub in wanted if sub.name in AGAINST_REFERENCE]
        if compared:
            other = runtime if self.reference is self.model else self._open("reference", self.reference, metric)
            found |= _against.measure(compared, examples, runtime, other, self.context)
        names = {sub.name: sub.metric_config for sub in wanted if sub.name not in AGAINST_REFERENCE}
        return found | (_quality.measure(metric, names, examples, runtime, self.context) if names else {})

    def _speed(self, metric: Metric) -> Found:
        from olive_like.passes.measure import _speed

        match metric.type:
            case "latency" | "throughput":
                return _speed.latency(metric, self.runtime_for(metric), self._first_batch(metric), self.context)
            case "generation":
                return _speed.generation(metric, self.runtime_for(metric), self.context)
            case "load_time":
                return _speed.load_time(self.model, metric, self.context)
            case "memory":
                from olive_like.passes.measure._memory import memory

                settings = _speed.settings_of(metric)
                return memory(self.model, settings, metric.user_config.inference_settings, self.context)
            case _:
                raise PassError(f"{metric.type} cannot be measured here")

    def _first_batch(self, metric: Metric) -> Arrays | None:
        if metric.data_config is None:
            return None
        return next(iter(self.examples(metric).batches())).feeds

    def examples(self, metric: Metric) -> Examples:
        """The examples that a metric is measured on."""
        data = metric.data_config
        if not isinstance(data, DataConfig):
            raise PassError(f"{metric.name} needs data", "Name a data set with `data_config`.")
        key = data.model_dump_json()
        if key not in self._examples:
            self._examples[key] = self._read(data)
        return self._examples[key]

    def _read(self, data: DataConfig) -> Examples:
        if data.process_function or data.dataloader_function or data.load_function:
            from olive_like.passes.measure._own_data import OwnData, brings_batches

            if data.process_function or data.dataloader_function or brings_batches(data):
                return OwnData(data, self.context.seed)
        from olive_like.passes.measure._examples import Texts, config_of

        if data.dummy is not None:
            from olive_like.passes.measure._made_up import MadeUp

            return MadeUp(self.model, data, self.context.seed)
        if data.audio is not None or "num_mel_bins" in config_of(self.model):
            from olive_like.passes.measure._sounds import Sounds

            return Sounds(self.model, data, self.context.seed)
        if data.image is not None or "image_size" in config_of(self.model):
            from olive_like.passes.measure._pictures import Pictures

            return Pictures(self.model, data, self.context.seed)
        return Texts(self.model, data, self.context.seed)
