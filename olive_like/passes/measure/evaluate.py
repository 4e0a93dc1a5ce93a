"""Measuring: one definition of every metric, for PyTorch models, adapters and ONNX models alike."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from olive_like.artifacts import (
    Adapter,
    Artifact,
    CompositeModel,
    HfModel,
    Metrics,
    NullArtifact,
    OnnxModel,
    PyTorchModel,
)
from olive_like.data.config import DataConfig, unread
from olive_like.metrics.catalog import TIMED
from olive_like.metrics.config import Evaluator, Metric
from olive_like.passes.base import Context, Pass, PassConfig

_READ = ("process_function", "post_process_function", "dataloader_function", "auto_batch", "image", "dummy")


class Evaluate(Pass):
    """Measure a model: quality, speed, size. A second input is the model to compare with."""

    accepts = (HfModel, Adapter, OnnxModel, PyTorchModel, CompositeModel, NullArtifact)
    produces = Metrics
    arity = (1, 2)
    tools = ("torch", "transformers", "onnxruntime", "scikit-learn", "sacrebleu", "rouge_score")

    class Config(PassConfig):
        evaluator: Evaluator = Field(Evaluator(), description="What is measured.")

    @classmethod
    def alone(cls, config: PassConfig) -> bool:
        assert isinstance(config, Evaluate.Config)
        return any(metric.type in TIMED for metric in config.evaluator.metrics)

    @classmethod
    def tools_for(cls, config: PassConfig) -> tuple[str, ...]:
        assert isinstance(config, Evaluate.Config)
        return (*cls.tools, *(("lm_eval",) if any(m.type == "lm_eval" for m in config.evaluator.metrics) else ()))

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, Evaluate.Config)
        return [
            problem
            for metric in config.evaluator.metrics
            for problem in (*_unread(metric), *(_of_kind(metric, kinds[0]) if kinds else ()))
        ]

    def run(self, models: list[Artifact], config: Config, context: Context) -> Metrics:
        from olive_like.passes.measure._evaluate import evaluate

        return evaluate(models[0], models[-1], config.evaluator, context)


def _unread(metric: Metric) -> list[str]:
    """What of a metric's data set is not looked at."""
    if metric.user_config.evaluate_func or not isinstance(metric.data_config, DataConfig):
        return []
    parts = unread(metric.data_config, *_READ)
    named = ", ".join(f"`{part}`" for part in parts)
    return [f"{metric.name} cannot be measured on these data: {named} is not available yet"] if parts else []


def _of_kind(metric: Metric, kind: type[Artifact]) -> list[str]:
    """What cannot be measured of a kind of model."""
    own = metric.user_config.evaluate_func
    if kind is NullArtifact and metric.type != "size_on_disk" and not own:
        return [f"{metric.name}: the pretend model has nothing to measure but `size_on_disk`"]
    if metric.type == "lm_eval" and kind not in (HfModel, Adapter, OnnxModel, Artifact):
        return [f"{metric.name}: lm-evaluation-harness asks language models, not a {kind.kind}"]
    return []
