"""Several graphs made one."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.passes.base import Context, Pass
from olive_like.passes.onnx_base import OnnxPassConfig


class ComposeOnnxModels(Pass):
    """Chain ONNX models into one: outputs feed the inputs of the same name in the models that follow."""

    accepts = (OnnxModel, CompositeModel)
    produces = OnnxModel
    arity = (1, None)
    tools = ("onnx", "onnx-ir")
    seeded = False
    traits = ()
    version = 2

    class Config(OnnxPassConfig):
        keep_outputs: list[str] = Field(
            [],
            description="Outputs that the whole gives although a later model reads them; of a model that SplitModel "
            "has cut, its own are kept unasked.",
        )

    def run(self, model: list[Any], config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._compose import compose

        return compose(model, config, context)
