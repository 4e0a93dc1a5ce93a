"""Rounding whose error is made good by the weights not yet rounded."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context, Effect
from olive_like.passes.fields import DataRef
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import NODES_TO_INCLUDE, BlockSize, WeightOnlyConfig


class OnnxGptq(OnnxPass):
    """Quantise MatMul weights column by column, each rounding error compensated on calibration data."""

    version = 3
    effect = Effect.SHRINKS
    tools = ("numpy", "onnx-ir", "onnxruntime", "torch")

    class Config(WeightOnlyConfig):
        bits: Literal[4, 8] = Field(4, description="Bits per weight.")
        block_size: BlockSize = Field(128, description="How many weights share a scale.")
        is_symmetric: bool = Field(False, description="No zero points.")
        damp_percent: float = Field(
            0.01, gt=0, lt=1, description="Added to the Hessian's diagonal, as a part of its mean."
        )
        actorder: bool = Field(False, description="Treat the columns with the largest activations first.")
        data_config: DataRef | None = Field(
            None, description="Calibration data; with none given, inputs are generated, and the run says so."
        )
        calibration_samples: int = Field(128, ge=1, description="How many examples to read at most.")
        nodes_to_include: list[str] | None = Field(None, description=NODES_TO_INCLUDE)

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._gptq import quantize

        return quantize(model, config, context)
