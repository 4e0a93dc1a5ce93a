"""Clipping alone, as a step before a quantiser."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context, Effect
from olive_like.passes.fields import NotInKey
from olive_like.passes.quantize.settings import CalibratedConfig, CalibratedPass


class AutoClip(CalibratedPass):
    """Clip each group of weights where that makes the rounded layer's output closer; weights stay dense."""

    effect = Effect.ANY

    class Config(CalibratedConfig):
        n_grid: int = Field(20, ge=1, description="Points of the search.")
        max_shrink: float = Field(0.5, gt=0, lt=1, description="Most of a group's range that may be cut off.")
        n_sample_token: Annotated[int, NotInKey()] = Field(
            512, ge=1, description="Accepted for Olive's files; the error is that on all of the calibration text."
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._smooth import clip

        return clip(model, config, context)
