"""Weights rounded to the nearest of 4 or 8 bits, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from olive_like.artifacts import Artifact, OnnxModel
from olive_like.passes.base import Context, Effect, PassConfig
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import NODES_TO_INCLUDE, BlockSize, WeightOnlyConfig


class OnnxBlockWiseRtnQuantization(OnnxPass):
    """Round weights of MatMul, Gemm and Gather to 4 or 8 bits per block; streams the model, needs no data."""

    version = 2
    effect = Effect.SHRINKS
    tools = ("numpy", "onnx-ir", "onnxruntime")
    seeded = False
    traits = ()

    class Config(WeightOnlyConfig):
        bits: Literal[2, 4, 8] = Field(4, description="Bits per weight.")
        block_size: BlockSize = Field(128, description="How many weights share a scale.")
        axis: Literal[0, 1] = Field(0, description="Axis of a MatMul's weight along which blocks run; 0 is what runs.")
        is_symmetric: bool = Field(True, description="No zero points.")
        nodes_to_include: list[str] | None = Field(None, description=NODES_TO_INCLUDE)
        embeddings: bool = Field(True, description="Quantise embeddings (Gather) as well as MatMul and Gemm.")

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, cls.Config)
        return ["axis 1: onnxruntime's kernels take blocks along axis 0 only"] if config.axis else []

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._rtn import quantize

        return quantize(model, config, context)
