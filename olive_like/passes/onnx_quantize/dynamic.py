"""8-bit weights ahead of time, activations on the fly."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context, Effect
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import IntegerConfig


class OnnxDynamicQuantization(OnnxPass):
    """Quantise weights to 8 bits ahead of time and activations on the fly; needs no data."""

    effect = Effect.SHRINKS
    tools = ("onnx", "onnx-ir", "onnxruntime")
    seeded = False

    class Config(IntegerConfig):
        quant_mode: Literal["dynamic"] = Field("dynamic", description="Always `dynamic`.")
        precision: Literal["int8", "uint8"] = Field("int8", description="Type of the quantised weights.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._integer import quantize_dynamically

        return quantize_dynamically(model, config, context)
