"""Measuring: one definition of every metric, for PyTorch models, adapters and ONNX models alike."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from olive_like.artifacts import Adapter, Artifact, HfModel, Metrics, NullArtifact, OnnxModel, PyTorchModel
from olive_like.data.config import DataConfig, unread
from olive_like.metrics.config import Evaluator
from olive_like.passes.base import Context, Pass, PassConfig

_TIMES = ("latency", "throughput", "generation", "load_time", "memory")


class Evaluate(Pass):
    """Measure a model: quality, speed, size."""

    accepts = (HfModel, Adapter, OnnxModel, PyTorchModel, NullArtifact)
    produces = Metrics
    tools = ("torch", "transformers", "onnxruntime", "scikit-learn", "sacrebleu", "rouge_score")

    class Config(PassConfig):
        evaluator: Evaluator = Field(Evaluator(), description="What is measured.")

    @classmethod
    def alone(cls, config: PassConfig) -> bool:
        assert isinstance(config, Evaluate.Config)
        return any(metric.type in _TIMES for metric in config.evaluator.metrics)

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, Evaluate.Config)
        found = []
        for metric in config.evaluator.metrics:
            reads_data = metric.type in ("accuracy", "custom") and not metric.user_config.evaluate_func
            if reads_data and isinstance(metric.data_config, DataConfig) and (parts := unread(metric.data_config)):
                named = ", ".join(f"`{part}`" for part in parts)
                found.append(f"{metric.name} is measured on rows of text: {named} of its data set cannot be used yet")
        return found

    def run(self, model: HfModel | Adapter | OnnxModel, config: Config, context: Context) -> Metrics:
        from olive_like.passes.measure._evaluate import evaluate

        return evaluate(model, config.evaluator, context)
