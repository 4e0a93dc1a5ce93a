"""8-bit floating point weights."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context, PassConfig
from olive_like.passes.quantize.settings import WeightPass


class Fp8Quantization(WeightPass):
    """Store linear layers as float8 (e4m3) with one scale per square block, as transformers' `fp8` reads it."""

    class Config(PassConfig):
        block_size: int = Field(128, ge=16, description="Edge of the blocks of weights that share a scale.")
        modules_to_not_convert: list[str] | None = Field(None, description="Modules to leave as they are.")

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._fp8 import run

        return run(model, config, context)
