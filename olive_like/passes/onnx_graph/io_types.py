"""Types of a model's inputs and outputs."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OnnxIODataTypeConverter(OnnxPass):
    """Give inputs and outputs another type, with a Cast between them and the graph; touches no weights."""

    tools = ("onnx", "onnx-ir")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        name_pattern: str = Field("logits", description="Regular expression, found anywhere in the names to convert.")
        source_dtype: int = Field(10, description="Type to convert from, as ONNX numbers it: 1 float32, 10 float16 …")
        target_dtype: int = Field(1, description="Type to convert to.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._io_types import convert

        return convert(model, config, context)
