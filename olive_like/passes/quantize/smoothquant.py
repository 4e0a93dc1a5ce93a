"""SmoothQuant."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context, Effect, PassConfig
from olive_like.passes.fields import DataRef
from olive_like.passes.quantize.settings import CalibratedPass


class SmoothQuant(CalibratedPass):
    """Move outliers of the activations into the weights, so that 8-bit activations lose less; stays dense."""

    effect = Effect.ANY

    class Config(PassConfig):
        alpha: float = Field(0.5, ge=0, le=1, description="How much of the difficulty moves into the weights.")
        data_config: DataRef | None = Field(
            None, description="Calibration data. With none the model itself writes text, from the workflow's seed."
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._smooth import smooth

        return smooth(model, config, context)
