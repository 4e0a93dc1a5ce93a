"""Learned rounding."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context
from olive_like.passes.quantize.settings import CalibratedConfig, CalibratedPass


class LearnedRounding(CalibratedPass):
    """Learn which way each weight is rounded, and each group's scale, by gradient descent on the block's output."""

    version = 2

    class Config(CalibratedConfig):
        iterations: int = Field(64, ge=1, description="Steps of gradient descent on each block.")
        batch_size: int = Field(2, ge=1, description="Sequences of the calibration text in each step.")
        learning_rate: float | None = Field(
            None,
            gt=0,
            le=1,
            description="The first step, in units of the grid; it falls to 0. Unset: 1 / `iterations`.",
        )
        scale_learning_rate: float | None = Field(
            None,
            ge=0,
            le=1,
            description="The same for the scales, as a share of them. Unset: a tenth of `learning_rate`.",
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._learned import run

        return run(model, config, context)
