"""Small operations on a graph, by name."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_graph.surgeons import Surgery
from olive_like.passes.onnx_pass import OnnxPass


class GraphSurgeries(OnnxPass):
    """Apply named operations ("surgeons") to a graph, one after the other."""

    tools = ("numpy", "onnx", "onnx-ir")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        surgeries: list[Surgery] = Field(  # a union put together from a table
            min_length=1, description="What to do, in order: `{surgeon: NAME, …}`."
        )
        remove_duplicate_initializers: bool = Field(True, description="Merge equal weights at the end.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._surgeries import operate

        return operate(model, config, context)
