"""onnxscript's fusions for onnxruntime."""

from __future__ import annotations

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OnnxScriptFusion(OnnxPass):
    """Fuse rotary embeddings, normalisation and attention with onnxscript's rewrite rules for onnxruntime."""

    tools = ("onnx", "onnx-ir", "onnxscript")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        pass

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._script_fusion import fuse

        return fuse(model, config, context)
