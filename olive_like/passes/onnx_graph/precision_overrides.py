"""Per-tensor precision for static quantisation."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.marks import LocalPath
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class MixedPrecisionOverrides(OnnxPass):
    """Say which tensors get another type in a static quantisation that follows; the graph stays as it is."""

    tools = ("onnx", "onnx-ir")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        overrides_config: LocalPath | dict[str, str] = Field(
            description="Tensor → type (`QUInt16`, or `uint16`), or a JSON file with them."
        )
        element_wise_binary_ops: list[str] | None = Field(
            None,
            description="Ops whose constant operand gets the type of the other one. Unset: Add, Sub, Mul, Div.",
        )

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._precision_overrides import note_overrides

        return note_overrides(model, config, context)
