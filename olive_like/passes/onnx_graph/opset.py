"""Another version of the operator set."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OnnxOpVersionConversion(OnnxPass):
    """Convert a model to another opset."""

    tools = ("onnx", "onnx-ir", "onnxscript")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        target_opset: int = Field(21, ge=7, description="Version of ONNX's operator set to convert to.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._opset import convert

        return convert(model, config, context)
