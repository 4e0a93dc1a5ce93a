"""Half-quadratic quantisation: zero points fitted to the weights, without data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from olive_like.artifacts import Artifact, OnnxModel
from olive_like.passes.base import Context, Effect, PassConfig
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import NODES_TO_INCLUDE, BlockSize, WeightOnlyConfig


class OnnxHqqQuantization(OnnxPass):
    """Quantise MatMul weights to 4 bits with zero points that minimise a sparse error; needs no data."""

    version = 2
    effect = Effect.SHRINKS
    tools = ("numpy", "onnx-ir", "onnxruntime")
    seeded = False
    traits = ()

    class Config(WeightOnlyConfig):
        bits: Literal[4, 8] = Field(4, description="Bits per weight.")
        block_size: BlockSize = Field(128, description="How many weights share a scale.")
        axis: Literal[0, 1] = Field(0, description="Axis of a MatMul's weight along which blocks run; 0 is what runs.")
        nodes_to_include: list[str] | None = Field(None, description=NODES_TO_INCLUDE)

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, cls.Config)
        return ["axis 1: onnxruntime's kernels take blocks along axis 0 only"] if config.axis else []

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._hqq import quantize

        return quantize(model, config, context)
