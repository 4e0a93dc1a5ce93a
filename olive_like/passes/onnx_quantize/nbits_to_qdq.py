"""From onnxruntime's own block-wise MatMul to standard ONNX."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import NODES_TO_EXCLUDE


class MatMulNBitsToQDQ(OnnxPass):
    """Write each MatMulNBits as DequantizeLinear and MatMul, which need no contrib operator."""

    tools = ("numpy", "onnx-ir")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        use_transpose_op: bool = Field(
            False, description="Keep weights as they lie and transpose them in the graph, instead of once here."
        )
        use_int4: bool = Field(False, description="Store 4-bit values as int4 (opset 21) instead of in 8 bits.")
        use_signed_int: bool = Field(False, description="Signed values instead of unsigned.")
        add_zero_point: bool = Field(False, description="Write zero points even where they are the type's default.")
        nodes_to_exclude: list[str] | None = Field(None, description=NODES_TO_EXCLUDE)

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._nbits_to_qdq import convert

        return convert(model, config, context)
