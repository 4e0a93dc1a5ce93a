"""Which layers deserve more bits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context, Effect, Pass, PassConfig
from olive_like.passes.fields import DataRef
from olive_like.passes.quantize.settings import Bits, GroupSize

Algorithm = Literal["k_quant_mixed", "k_quant_down", "k_quant_last", "kld_gradient", "snr"]


class SelectiveMixedPrecision(Pass):
    """Measure how much each layer suffers from few bits, and tell the quantisers after it which get more."""

    accepts = HfModel
    produces = HfModel
    version = 2
    tools = ("torch", "transformers")
    effect = Effect.ANY
    traits = ("device",)
    data_pass = "TokenizedText"

    class Config(PassConfig):
        algorithm: Algorithm | None = Field(
            None, description="How layers are chosen; with none, kld_gradient where a ratio is set, else k_quant_mixed."
        )
        bits: Bits = Field(4, description="Bits of the ordinary layers.")
        group_size: GroupSize = Field(128, description="Group size of the ordinary layers.")
        sym: bool = Field(False, description="Whether their grids are symmetric.")
        high_bits: Bits = Field(8, description="Bits of the layers chosen.")
        high_group_size: GroupSize | None = Field(None, description="Their group size; the ordinary one if not set.")
        high_sym: bool | None = Field(None, description="Whether their grids are symmetric; as the ordinary ones.")
        ratio: float | None = Field(
            None, gt=0, le=1, description="Share of the weights that stay at the ordinary bits (measured algorithms)."
        )
        kld_memory_mode: Literal["auto", "full", "low"] = Field(
            "auto", description="Keep the whole model's gradients, or those of one block at a time."
        )
        data_config: DataRef | None = Field(
            None, description="Text to measure on. With none the model itself writes it, from the workflow's seed."
        )

        @model_validator(mode="after")
        def _ratio_is_set(self) -> SelectiveMixedPrecision.Config:
            if self.algorithm in ("kld_gradient", "snr") and self.ratio is None:
                raise ValueError(f"algorithm {self.algorithm} needs `ratio`, the share of weights at the ordinary bits")
            return self

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._mixed import run

        return run(model, config, context)
