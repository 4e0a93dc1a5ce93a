"""What onnxruntime's tools for Qualcomm's processors do before a graph is quantised."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class QNNPreprocess(OnnxPass):
    """Put patterns into single operators that Qualcomm's processors have: Gelu, LpNormalization, SpaceToDepth."""

    tools = ("onnx", "onnx-ir", "onnxruntime")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        fuse_layernorm: bool = Field(False, description="LayerNormalization as well, from opset 17 on.")
        inputs_to_make_channel_last: list[str] | None = Field(
            None, description="Inputs whose second axis goes to the end, with a Transpose behind each."
        )
        outputs_to_make_channel_last: list[str] | None = Field(
            None, description="Outputs whose second axis goes to the end, with a Transpose before each."
        )

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._qnn_preprocess import preprocess

        return preprocess(model, config, context)
