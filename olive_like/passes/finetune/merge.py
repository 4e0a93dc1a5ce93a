"""An adapter put into the weights of its base."""

from __future__ import annotations

from pydantic import AliasChoices, Field

from olive_like.artifacts import Adapter, HfModel
from olive_like.passes.base import Context, Pass, PassConfig


class MergeAdapterWeights(Pass):
    """Put an adapter into the weights of its base, in float32, and keep the base's type."""

    accepts = Adapter
    produces = HfModel
    tools = ("torch", "transformers", "peft")
    seeded = False
    traits = ()

    class Config(PassConfig):
        torch_dtype: str = Field(
            "auto",
            validation_alias=AliasChoices("torch_dtype", "dtype"),
            description="Type of the merged weights; auto: the base's.",
        )

    def run(self, model: Adapter, config: Config, context: Context) -> HfModel:
        from olive_like.passes.finetune import _merge

        return _merge.merge(model, config.torch_dtype, context)
