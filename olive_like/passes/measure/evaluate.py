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
from olive_like.data.script import lacking
from olive_like.errors import PassError
from olive_like.metrics.catalog import DEFAULTS, GENERATED, HARNESSES, SPEECH, TIMED
from olive_like.metrics.config import Evaluator, Metric
from olive_like.metrics.providers import providers_wanted, settings_for_onnx
from olive_like.passes.base import Context, Pass, PassConfig

_READ = ("process_function", "post_process_function", "dataloader_function", "auto_batch", "image", "audio", "dummy")


class Evaluate(Pass):
    """Measure a model: quality, speed, size. A second input is the model to compare with."""

    accepts = (HfModel, Adapter, OnnxModel, PyTorchModel, CompositeModel, NullArtifact)
    produces = Metrics
    arity = (1, 2)
    tools = ("torch", "transformers", "onnxruntime", "scikit-learn", "sacrebleu", "rouge_score")
    optional_tools = ("onnxruntime-genai", "onnxruntime-genai-cuda")  # writes the texts of folders made for it
    version = 4

    class Config(PassConfig):
        evaluator: Evaluator = Field(Evaluator(), description="What is measured.")

    @classmethod
    def alone(cls, config: PassConfig) -> bool:
        assert isinstance(config, Evaluate.Config)
        return any(_is_timed(metric) for metric in config.evaluator.metrics)

    @classmethod
    def tools_for(cls, config: PassConfig) -> tuple[str, ...]:
        assert isinstance(config, Evaluate.Config)
        return (*cls.tools, *(name for name in HARNESSES if any(m.type == name for m in config.evaluator.metrics)))

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, Evaluate.Config)
        return [
            problem
            for metric in config.evaluator.metrics
            for problem in (
                *_lacking(metric),
                *_absent(metric),
                *_unread(metric),
                *_providers(metric),
                *(_of_kind(metric, kinds[0]) if kinds else ()),
            )
        ]

    def run(self, models: list[Artifact], config: Config, context: Context) -> Metrics:
        from olive_like.passes.measure._evaluate import evaluate

        return evaluate(models[0], models[-1], config.evaluator, context)


def _is_timed(metric: Metric) -> bool:
    return metric.type in TIMED or any(sub.name in SPEECH for sub in metric.sub_types)


def _lacking(metric: Metric) -> list[str]:
    """What a metric does not say."""
    user = metric.user_config
    if user.evaluate_func or user.metric_func:
        name = user.evaluate_func or user.metric_func
        found = [] if user.user_script else [f"{metric.name}: `{name}` needs the `user_script` that it is in"]
        return found + ([_no_data(metric)] if not user.evaluate_func and metric.data_config is None else [])
    if metric.type == "custom":
        return [f"{metric.name} is your own: name its `evaluate_func` or `metric_func` in `user_config`"]
    if metric.type in HARNESSES and not metric.tasks:
        return [f"{metric.name} names no task: write `tasks: [{'hellaswag' if metric.type == 'lm_eval' else 'STS17'}]`"]
    if metric.type == "mteb" and any(not isinstance(task, str) for task in metric.tasks):
        return [f"{metric.name}: tasks of MTEB are named, not written out"]
    return [_no_data(metric)] if metric.type == "accuracy" and metric.data_config is None else []


def _absent(metric: Metric) -> list[str]:
    """The functions of the user's that their scripts do not have."""
    user, data = metric.user_config, metric.data_config
    named = [(user.user_script, user.evaluate_func or user.metric_func)]
    if isinstance(data, DataConfig) and not user.evaluate_func:
        functions = (data.load_function, data.process_function, data.post_process_function, data.dataloader_function)
        named += [(data.user_script, name) for name in functions]
    known = [lacking(script, name) for script, name in named if script is not None and name is not None]
    return list(dict.fromkeys(f"{metric.name}: {why}" for why in known if why is not None))


def _providers(metric: Metric) -> list[str]:
    """What is wrong with the providers that a metric names."""
    try:
        providers_wanted(settings_for_onnx(metric.user_config.inference_settings))
    except PassError as error:
        return [f"{metric.name}: {error.message}; {error.hint}"]
    return []


def _no_data(metric: Metric) -> str:
    return f"{metric.name} is measured on data: name a data set with `data_config`"


def _unread(metric: Metric) -> list[str]:
    """What of a metric's data set is not looked at."""
    data = metric.data_config
    if metric.user_config.evaluate_func or not isinstance(data, DataConfig):
        return []
    if data.audio is not None and metric.type == "accuracy" and not data.post_process_function:
        names = [sub.name for sub in metric.sub_types] or [DEFAULTS["accuracy"]]
        wrong = [name for name in names if name not in (*SPEECH, *GENERATED)]
        if wrong:
            return [f"{wrong[0]} cannot be measured on recordings; there are: {', '.join((*SPEECH, *GENERATED))}"]
    parts = unread(data, *_READ)
    named = ", ".join(f"`{part}`" for part in parts)
    return [f"{metric.name} cannot be measured on these data: {named} is not available yet"] if parts else []


def _of_kind(metric: Metric, kind: type[Artifact]) -> list[str]:
    """What cannot be measured of a kind of model."""
    own = metric.user_config.evaluate_func
    if kind is NullArtifact and metric.type != "size_on_disk" and not own:
        return [f"{metric.name}: the pretend model has nothing to measure but `size_on_disk`"]
    if metric.type in HARNESSES and kind not in (HfModel, Adapter, OnnxModel, Artifact):
        return [f"{metric.name}: {metric.type} takes models with a tokenizer, not a {kind.kind}"]
    return []
