"""Half precision."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context, Effect
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OnnxFloatToFloat16(OnnxPass):
    """Turn float32 weights and operators to float16, with casts around those that stay."""

    effect = Effect.SHRINKS
    tools = ("onnx", "onnx-ir", "onnxruntime")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        min_positive_val: float = Field(1e-7, gt=0, description="Smaller non-zero weights are raised to this.")
        max_finite_val: float = Field(1e4, gt=0, description="Larger weights are cut to this.")
        keep_io_types: bool | list[str] = Field(
            False, description="Inputs and outputs stay float32: all, or those in the list."
        )
        use_symbolic_shape_infer: bool = Field(True, description="Infer types with onnxruntime's symbolic inference.")
        op_block_list: list[str] | None = Field(
            None, description="Op types that stay float32; by default those that have no float16 kernel."
        )
        op_include_list: list[str] | None = Field(None, description="The only op types to turn.")
        node_block_list: list[str] | None = Field(None, description="Nodes that stay float32.")
        node_include_list: list[str] | None = Field(None, description="The only nodes to turn.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._float16 import convert

        return convert(model, config, context)
