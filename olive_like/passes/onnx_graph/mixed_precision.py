"""Half precision where it does no harm."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context, Effect
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OrtMixedPrecision(OnnxPass):
    """Turn a model to float16, and keep in float32 the operators and the last layer that need it."""

    effect = Effect.SHRINKS
    tools = ("onnx", "onnx-ir", "onnxruntime")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        op_block_list: list[str] = Field(
            [
                "SimplifiedLayerNormalization",
                "SkipSimplifiedLayerNormalization",
                "Relu",
                "Add",
            ],
            description="Op types that stay float32.",
        )
        atol: float = Field(1e-6, ge=0, description="Weights of the last layer that float16 holds this well may turn.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._float16 import convert_mixed

        return convert_mixed(model, config, context)
