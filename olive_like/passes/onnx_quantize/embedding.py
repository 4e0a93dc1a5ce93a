"""Embedding tables in 4 or 8 bits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context, Effect
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import NODES_TO_EXCLUDE, BlockSize, QuantizingConfig


class OnnxEmbeddingQuantization(OnnxPass):
    """Quantise embedding tables (Gather) alone, block by block; the rest of the graph stays."""

    version = 2
    effect = Effect.SHRINKS
    tools = ("numpy", "onnx-ir")
    seeded = False
    traits = ()

    class Config(QuantizingConfig):
        bits: Literal[4, 8] = Field(4, description="Bits per weight.")
        block_size: BlockSize = Field(32, description="How many weights of a row share a scale.")
        is_symmetric: bool = Field(False, description="No zero points.")
        nodes_to_exclude: list[str] | None = Field(None, description=NODES_TO_EXCLUDE)

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._rtn import quantize_embeddings

        return quantize_embeddings(model, config, context)
