"""What a workflow says about a search."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Objective(_Model):
    """A number to make as good as possible."""

    metric: str = Field(..., description="Name of the metric: `accuracy`, or `latency.p90` for one of several values.")
    direction: Literal["max", "min"] | None = Field(None, description="Which is better; default: the metric knows.")


class Constraint(_Model):
    """A bound that a candidate must keep to count."""

    metric: str = Field(..., description="Name of the metric.")
    min: float | None = Field(None, description="Smallest value allowed.")
    max: float | None = Field(None, description="Largest value allowed.")
    max_degradation: float | None = Field(None, ge=0, description="Most that may be lost against the input model.")
    relative: bool = Field(False, description="Whether max_degradation is a part (0.01 is 1 %) and not a difference.")

    @model_validator(mode="after")
    def _bounds(self) -> Constraint:
        if self.min is None and self.max is None and self.max_degradation is None:
            raise ValueError("a constraint needs `min`, `max` or `max_degradation`")
        return self


class SearchStrategy(_Model):
    """How the settings that are left open are tried."""

    sampler: Literal["grid", "random", "tpe", "nsga2"] = Field("tpe", description="How the next candidate is chosen.")
    max_samples: int | None = Field(None, ge=1, description="Most candidates tried; default: all of a grid, else 20.")
    max_time: float | None = Field(None, gt=0, description="Seconds after which no new candidate is begun.")
    seed: int | None = Field(None, ge=0, description="Seed of the sampler; default: the workflow's.")
    objectives: list[Objective | str] = Field([], description="What to optimise; default: the evaluator's metrics.")
    constraints: list[Constraint] = Field([], description="Bounds that a candidate must keep.")
    pruner: Literal["none", "hyperband"] = Field(
        "none", description="Whether trainings that fall behind the others in their loss are stopped before their end."
    )
    prune_from: int = Field(1, ge=1, description="Steps of a training before which it is not stopped.")
    prune_factor: int = Field(3, ge=2, description="Of so many trainings that came as far, one goes on.")
    stop_when_goals_met: bool = Field(False, description="End with the first candidate that reaches every goal.")
