"""The 4-bit float types of bitsandbytes, in ONNX."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context, Effect
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import NODES_TO_EXCLUDE, QuantizingConfig


class OnnxBnb4Quantization(OnnxPass):
    """Quantise MatMul weights to the 4-bit float types nf4 or fp4."""

    version = 2
    effect = Effect.SHRINKS
    tools = ("numpy", "onnx-ir", "onnxruntime")
    seeded = False
    traits = ()

    class Config(QuantizingConfig):
        precision: Literal["nf4", "fp4"] | None = Field(
            None, description="The type; by default the one that the model was fine-tuned with, or nf4."
        )
        block_size: Literal[16, 32, 64, 128, 256] = Field(64, description="How many weights share a scale.")
        quantized_modules: list[str] | None = Field(
            None, description="Only nodes whose name contains one of these; by default all."
        )
        nodes_to_exclude: list[str] | None = Field(None, description=NODES_TO_EXCLUDE)

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._bnb4 import quantize

        return quantize(model, config, context)
