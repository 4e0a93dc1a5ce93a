"""What a workflow says about measuring a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from olive_like.data.config import DataConfig
from olive_like.marks import NotInKey, ScriptPath
from olive_like.metrics.catalog import own_function, shorthand, values_of, wrong_setting


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=(), defer_build=True
    )


class Goal(_Model):
    """What a value must reach. Degradations and improvements are against the input model."""

    type: Literal[
        "threshold", "min-improvement", "percent-min-improvement", "max-degradation", "percent-max-degradation"
    ] = Field("threshold", description="What the value is compared with.")
    value: float = Field(..., description="The bound.")


class SubMetric(_Model):
    """One of the values of a metric."""

    name: str = Field(..., description="Which value: `accuracy_score`, `p90` …")
    priority: int | None = Field(None, description="Rank among the objectives of a search; 1 comes first, -1: none.")
    goal: Goal | None = Field(None, description="What must be reached.")
    higher_is_better: bool | None = Field(None, description="For a metric of the user's own.")
    metric_config: dict[str, Any] = Field({}, description="Settings of this value: runs to warm up, averaging …")


class UserConfig(_Model):
    """The user's own code and settings of a measurement."""

    user_script: ScriptPath | None = Field(None, description="Python file with the functions named below.")
    script_dir: ScriptPath | None = Field(None, description="Folder that the script imports from.")
    evaluate_func: str | None = Field(None, description="Function that measures the model and returns the values.")
    evaluate_func_kwargs: dict[str, Any] = Field({}, description="Its arguments.")
    metric_func: str | None = Field(None, description="Function from predictions and targets to the values.")
    metric_func_kwargs: dict[str, Any] = Field({}, description="Its arguments.")
    inference_settings: dict[str, Any] = Field({}, description="Session options by format (`onnx`).")
    io_bind: bool = Field(False, description="Keep inputs and outputs on the device.")
    shared_kv_buffer: bool = Field(False, description="Let past and present share their memory.")
    run_kwargs: dict[str, Any] = Field({}, description="Arguments of every call of the model.")


class TaskSettings(_Model):
    """How lm-evaluation-harness puts its questions."""

    apply_chat_template: bool = Field(False, description="Put questions as messages of a chat.")
    fewshot_as_multiturn: bool = Field(False, description="Put the examples before a question as turns of the chat.")
    bootstrap_iters: int = Field(1000, ge=0, description="Samples from which standard errors are estimated.")


class Metric(_Model):
    """A measurement with one or several values."""

    name: str = Field(..., description="The name that goals and reports refer to it by.")
    type: Literal[
        "accuracy",
        "latency",
        "throughput",
        "generation",
        "load_time",
        "memory",
        "size_on_disk",
        "lm_eval",
        "mteb",
        "custom",
    ] = Field(..., description="What is measured.")
    backend: Literal["torch_metrics", "huggingface_metrics"] | None = Field(
        None, description="Accepted; the values are scikit-learn's, with which both agree."
    )
    sub_types: list[SubMetric] = Field([], description="Its values; default: the usual one of the type.")
    data_config: DataConfig | str | None = Field(None, description="The data to measure on.")
    user_config: UserConfig = Field(UserConfig(), description="The user's own code and settings.")
    tasks: list[str | dict[str, Any]] = Field(
        [],
        description="For `lm_eval`: tasks of lm-evaluation-harness, by their names or written out as it takes them; "
        "for `mteb`: names of its tasks.",
    )
    task_settings: TaskSettings = Field(TaskSettings(), description="For `lm_eval`: how the questions are put.")
    num_fewshot: int | None = Field(None, ge=0, description="For `lm_eval`: examples shown before each question.")
    limit: float | None = Field(None, gt=0, description="For `lm_eval`: questions per task, or below 1 a part of them.")

    @model_validator(mode="after")
    def _known_values(self) -> Metric:
        """Values and settings that the type does not have are found before anything is measured."""
        known = values_of(self.type)
        for sub in () if self.user_config.metric_func else self.sub_types:
            for name, value in sub.metric_config.items():
                if (why := wrong_setting(self.type, name, value)) is not None:
                    raise ValueError(why)
        for sub in self.sub_types if known and not self.user_config.metric_func else ():
            if sub.name not in known:
                raise ValueError(f"{self.type} has no value `{sub.name}`; there are: {', '.join(known)}")
        return self


class Evaluator(_Model):
    """What is measured of a model."""

    name: Annotated[str | None, NotInKey()] = Field(None, description="Has no effect.")
    metrics: list[Metric] = Field(
        [], description="The measurements; a name alone (`perplexity`, `mine.py:score`) will do."
    )
    data_config: DataConfig | str | None = Field(None, description="The data of every metric that names none.")

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, values: Any) -> Any:
        """`metrics: [perplexity]` and the evaluator's own data set, written out."""
        if not isinstance(values, dict) or not isinstance(values.get("metrics"), (list, tuple)):
            return values
        data = values.get("data_config")
        metrics = [_spelled_out(metric, data is not None) for metric in values["metrics"]]
        if data is not None:
            metrics = [{"data_config": data, **m} if isinstance(m, dict) and _wants_data(m) else m for m in metrics]
        return {**values, "metrics": metrics}


def _spelled_out(metric: Any, on_data: bool) -> Any:
    meaning = shorthand(metric) if isinstance(metric, str) else None
    if meaning is None:
        return metric
    if (own := own_function(metric)) is not None:
        # With data it is given predictions and targets, without any it is given the model.
        user = {"user_script": own[0], "metric_func" if on_data else "evaluate_func": own[1]}
        return {"name": own[1], "type": "custom", "user_config": user}
    kind, value = meaning
    return {"name": metric, "type": kind, **({"sub_types": [{"name": value}]} if value else {})}


def _wants_data(metric: dict[str, Any]) -> bool:
    return metric.get("type") in ("accuracy", "custom") and metric.get("data_config") is None
