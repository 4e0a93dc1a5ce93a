"""One graph made several."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import CompositeModel, OnnxModel
from olive_like.passes.base import Context, Pass
from olive_like.passes.onnx_base import OnnxPassConfig


class SplitModel(Pass):
    """Cut a model into several that run one after the other, at the layers that are assigned to each."""

    accepts = OnnxModel
    produces = CompositeModel
    tools = ("onnx", "onnx-ir")
    seeded = False
    traits = ()
    version = 2

    class Config(OnnxPassConfig):
        split_assignments: dict[str, int] | str | None = Field(
            None,
            description="Module name -> number of its part, also written `name=0;name2=1`; by default what an "
            "earlier pass left in the model's attributes.",
        )
        num_splits: int | None = Field(
            None, ge=2, description="With no assignments: how many parts of about equal size to make."
        )

    def run(self, model: OnnxModel, config: Config, context: Context) -> CompositeModel:
        from olive_like.passes.onnx_graph._split import split

        return split(model, config, context)
