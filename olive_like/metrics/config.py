"""What a workflow says about measuring a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from olive_like.data.config import DataConfig
from olive_like.marks import NotInKey, ScriptPath


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=())


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


class Metric(_Model):
    """A measurement with one or several values."""

    name: str = Field(..., description="The name that goals and reports refer to it by.")
    type: Literal["accuracy", "latency", "throughput", "size_on_disk", "custom"] = Field(
        ..., description="What is measured."
    )
    backend: Literal["torch_metrics", "huggingface_metrics"] | None = Field(
        None, description="Whose definition of the metric, where they differ."
    )
    sub_types: list[SubMetric] = Field([], description="Its values; default: the usual one of the type.")
    data_config: DataConfig | str | None = Field(None, description="The data to measure on.")
    user_config: UserConfig = Field(UserConfig(), description="The user's own code and settings.")


class Evaluator(_Model):
    """What is measured of a model."""

    name: Annotated[str | None, NotInKey()] = Field(None, description="Has no effect.")
    metrics: list[Metric] = Field([], description="The measurements.")
