"""8-bit floats as weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context, Effect
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import NODES_TO_EXCLUDE, QuantizingConfig


class OnnxFloat8Quantization(OnnxPass):
    """Store MatMul weights as 8-bit floats with a scale per output channel; arithmetic stays as it was."""

    version = 3
    effect = Effect.SHRINKS
    tools = ("numpy", "onnx-ir")
    seeded = False
    traits = ()

    class Config(QuantizingConfig):
        float8_type: Literal["e4m3fn", "e5m2"] = Field(
            "e4m3fn", description="Four bits of exponent and three of mantissa, or five and two."
        )
        nodes_to_exclude: list[str] | None = Field(None, description=NODES_TO_EXCLUDE)

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._float8 import quantize

        return quantize(model, config, context)
