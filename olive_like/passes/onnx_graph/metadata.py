"""Where a model comes from, written into it."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class AddOliveMetadata(OnnxPass):
    """Name the graph and write metadata into the model; touches no weights."""

    tools = ("onnx", "onnx-ir")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        graph_name: str = Field(description="Name of the graph.")
        custom_metadata: dict[str, str | int | float | bool] = Field({}, description="Entries to add.")
        add_optimization_info: bool = Field(
            True, description="Also add the digest of the input model and what its passes left in its attributes."
        )

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._metadata import add

        return add(model, config, context)
