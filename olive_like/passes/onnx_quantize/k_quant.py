"""Scales and zero points searched per block, weighted by the size of the weights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context, Effect
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import BlockSize, WeightOnlyConfig


class OnnxKQuantQuantization(OnnxPass):
    """Quantise weights of MatMul, Gemm and Gather with a search for each block's best scale, as llama.cpp does."""

    version = 2
    effect = Effect.SHRINKS
    tools = ("numpy", "onnx-ir", "onnxruntime")
    seeded = False
    traits = ()

    class Config(WeightOnlyConfig):
        bits: Literal[4, 8] = Field(4, description="Bits per weight.")
        block_size: BlockSize = Field(32, description="How many weights share a scale.")
        embeddings: bool = Field(True, description="Quantise embeddings (Gather) as well as MatMul and Gemm.")
        customized_weight_config: dict[str, dict[str, Any]] | None = Field(
            None, description="Other `bits` and `block_size` for some nodes, by name."
        )

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._k_quant import quantize

        return quantize(model, config, context)
