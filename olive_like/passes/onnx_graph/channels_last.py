"""Order of the axes of image inputs."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class InputNCHWtoNHWC(OnnxPass):
    """Make image inputs channels-last, with a Transpose behind each; touches no weights."""

    tools = ("onnx", "onnx-ir")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        input_names: list[str] | None = Field(None, description="Inputs to change; by default all with four axes.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._io_types import to_channels_last

        return to_channels_last(model, config, context)
