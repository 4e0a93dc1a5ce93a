"""onnxscript's fusions for onnxruntime."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OnnxScriptFusion(OnnxPass):
    """Fuse rotary embeddings, normalisation and attention with onnxscript's rewrite rules for onnxruntime."""

    tools = ("onnx", "onnx-ir", "onnxscript")
    version = 3
    seeded = False
    traits = ("device",)

    class Config(OnnxPassConfig):
        use_gqa: bool | None = Field(
            None,
            description="Attention of decoders with a cache becomes onnxruntime's GroupQueryAttention. Unset: on CPUs, "
            "since CUDA has it in half precision only.",
        )
        positions: Literal["given", "counted"] = Field(
            "given",
            description="given: queries and keys are turned by `position_ids`. counted: attention turns them itself, "
            "by their place in the cache, which is quicker; `position_ids` is not read.",
        )

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._script_fusion import fuse

        return fuse(model, config, context)
