"""Rotations that spread outliers before rounding, fused into the weights."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context, Effect, Pass, PassConfig
from olive_like.passes.fields import DataRef
from olive_like.passes.quantize.settings import GroupSize


class QuaRot(Pass):
    """Rotate the residual stream and the value heads by a Hadamard or random orthogonal matrix; same outputs."""

    accepts = HfModel
    produces = HfModel
    tools = ("torch", "transformers")
    effect = Effect.ANY
    traits = ("device",)

    class Config(PassConfig):
        seed: int = Field(0, description="Seed of the rotation.")
        rotate_mode: Literal["hadamard", "random"] = Field("hadamard", description="Kind of orthogonal matrix.")

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._rotate import quarot

        return quarot(model, config, context)


class RotationTraining(BaseModel):
    """How the rotation is learnt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int = Field(100, ge=0, description="Steps of descent on the orthogonal matrices.")
    learning_rate: float = Field(1.5, gt=0, description="Length of the first step; it falls to zero.")
    per_device_train_batch_size: int = Field(4, ge=1, description="Sequences per step.")


class SpinQuant(Pass):
    """QuaRot with a rotation learnt on calibration text so that the rounded model loses least."""

    accepts = HfModel
    produces = HfModel
    tools = ("torch", "transformers")
    effect = Effect.ANY
    traits = ("device",)
    data_pass = "TokenizedText"

    class Config(PassConfig):
        seed: int = Field(0, description="Seed of the rotation to start from.")
        rotate_mode: Literal["hadamard", "random"] = Field("hadamard", description="Rotation to start from.")
        a_bits: int = Field(16, ge=2, description="Bits of the activations that training pretends; 16: untouched.")
        a_symmetric: bool = Field(True, description="Whether their grid is symmetric.")
        a_per_token: bool = Field(True, description="One scale per token instead of one per tensor.")
        w_bits: int = Field(4, ge=2, description="Bits of the weights that training pretends.")
        w_group_size: GroupSize = Field(128, description="Group size of the weights that training pretends.")
        training_args: RotationTraining | None = Field(None, description="How long and how fast it learns.")
        data_config: DataRef | None = Field(
            None, description="Training text. With none the model itself writes it, from the workflow's seed."
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._spinquant import run

        return run(model, config, context)
