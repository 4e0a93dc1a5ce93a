"""What onnxruntime's static quantiser wants done first."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OnnxQuantizationPreprocess(OnnxPass):
    """Prepare a graph for static quantisation: shapes inferred, constants folded, simple fusions done."""

    tools = ("onnx", "onnx-ir", "onnxruntime")
    seeded = False

    class Config(OnnxPassConfig):
        skip_optimization: bool = Field(False, description="Leave out onnxruntime's graph optimisations.")
        skip_onnx_shape: bool = Field(False, description="Leave out ONNX's own shape inference.")
        skip_symbolic_shape: bool = Field(False, description="Leave out symbolic shape inference.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._preprocess import preprocess

        return preprocess(model, config, context)
