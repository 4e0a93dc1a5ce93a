"""Passes that take weights away instead of rounding them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context, Effect, Pass, PassConfig
from olive_like.passes.fields import DataRef, NotInKey
from olive_like.passes.quantize.settings import CalibratedPass


class SparseGPT(CalibratedPass):
    """Set weights to zero where the calibration text misses them least, and let the rest make up for it."""

    effect = Effect.ANY

    class Config(PassConfig):
        sparsity: float | list[int] = Field(
            ..., description="Share of every layer's weights to set to zero, or [n, m]: n of each m neighbours."
        )
        blocksize: int = Field(128, ge=1, description="Columns that zeros are chosen for at a time.")
        percdamp: float = Field(0.01, gt=0, lt=1, description="Share of the mean curvature added to it.")
        min_layer: int | None = Field(None, ge=0, description="First block to prune.")
        max_layer: int | None = Field(None, ge=1, description="Block to stop before.")
        layer_name_filter: str | list[str] | None = Field(
            None, description="Prune only layers whose names contain one of these."
        )
        device: Annotated[str, NotInKey()] = Field(
            "auto", description="Accepted for Olive's files; the system decides where a pass runs."
        )
        data_config: DataRef | None = Field(
            None, description="Calibration data. With none the model itself writes text, from the workflow's seed."
        )

        @field_validator("sparsity")
        @classmethod
        def _possible(cls, value: float | list[int]) -> float | list[int]:
            if isinstance(value, list):
                if len(value) != 2 or not 0 < value[0] < value[1]:
                    raise ValueError("must be two numbers, [n, m] with 0 < n < m, as in [2, 4]")
            elif not 0 < value < 1:
                raise ValueError("must be between 0 and 1, as in 0.5")
            return value

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._sparsegpt import run

        return run(model, config, context)


class SliceGPT(Pass):
    """Turn the residual stream onto its main directions and cut off the rest: an ordinary, narrower model."""

    accepts = HfModel
    produces = HfModel
    tools = ("torch", "transformers")
    traits = ("device",)
    data_pass = "TokenizedText"

    class Config(PassConfig):
        sparsity: float = Field(0.0, ge=0, lt=1, description="Share of the directions to cut.")
        round_interval: int = Field(
            8, ge=1, description="The width that is left is a multiple of this, and of the number of heads."
        )
        calibration_data_config: DataRef | None = Field(
            None, description="Calibration data. With none the model itself writes text, from the workflow's seed."
        )
        calibration_nsamples: int = Field(128, ge=1, description="Sequences to calibrate on, if there are more.")
        calibration_batch_size: Annotated[int, NotInKey()] = Field(
            16, ge=1, description="Accepted for Olive's files; batches are as large as the cache takes."
        )
        seed: int = Field(42, description="Seed of the choice of sequences.")
        final_orientation: Annotated[Literal["random", "pca"], NotInKey()] = Field(
            "random", description="Accepted for Olive's files; all blocks share one orientation here."
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._slicegpt import run

        return run(model, config, context)
