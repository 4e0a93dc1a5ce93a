"""Quantisers that look at the weights alone."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context
from olive_like.passes.quantize.settings import EmbeddingConfig, GroupSize, WeightConfig, WeightPass


class Rtn(WeightPass):
    """Round every weight to the nearest point of its group's grid: no data, seconds, and a baseline."""

    version = 3

    class Config(EmbeddingConfig):
        pass

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._weightonly import run

        return run(model, config, context, "rtn")


class KQuant(WeightPass):
    """Search every group's scale and zero point for the least weighted error, as llama.cpp's k-quants do."""

    version = 3
    tools = ("numpy", "torch", "transformers")

    class Config(EmbeddingConfig):
        group_size: GroupSize = Field(32, description="Weights of a row that share a scale; -1: the whole row.")

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._weightonly import run

        return run(model, config, context, "kquant")


class Hqq(WeightPass):
    """Half-quadratic quantisation: zero points fitted under a norm that forgives outliers, without data."""

    version = 3
    tools = ("numpy", "torch", "transformers")

    class Config(WeightConfig):
        group_size: GroupSize = Field(64, description="Weights of a row that share a scale; -1: the whole row.")
        embeds: bool = Field(False, description="Quantise the input embeddings too.")
        iterations: int = Field(20, ge=1, description="Most steps of the fit.")
        lp_norm: float = Field(0.7, gt=0, le=1, description="The norm of the error that is made small.")

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._weightonly import run

        return run(model, config, context, "hqq")
