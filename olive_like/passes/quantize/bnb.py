"""bitsandbytes as a storage format."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from olive_like.artifacts import HfModel
from olive_like.marks import NotInKey
from olive_like.passes.base import Context, PassConfig
from olive_like.passes.quantize.settings import WeightPass


class BnbQuantization(WeightPass):
    """Store linear layers as bitsandbytes nf4, fp4 or int8, ready for QLoRA and plain transformers."""

    tools = ("torch", "transformers", "bitsandbytes")

    class Config(PassConfig):
        precision: Literal["nf4", "fp4", "int8"] = Field("nf4", description="Type of the stored weights.")
        double_quant: bool = Field(True, description="Quantise the scales too (nf4 and fp4).")
        compute_dtype: Literal["float32", "float16", "bfloat16"] = Field(
            "bfloat16", description="Type in which the layers compute."
        )
        modules_to_not_convert: list[str] | None = Field(None, description="Modules to leave as they are.")
        measure_speed: Annotated[bool | None, NotInKey()] = Field(
            None,
            description="Let a language model write a few tokens before and after, for some seconds, and tell the "
            "tokens per second. Unset: up to 700 MiB, because both models are in memory for it. Only a pass that runs "
            "measures: a result from the cache does not.",
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._bnb import run

        return run(model, config, context)
