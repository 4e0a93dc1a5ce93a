"""Marks for splitting a model before it is exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from olive_like.artifacts import Artifact, HfModel
from olive_like.marks import LocalPath
from olive_like.passes.base import Context, Pass, PassConfig


class CaptureSplitInfo(Pass):
    """Note which blocks of a model belong to which part, for SplitModel after the export."""

    accepts = HfModel
    produces = HfModel
    version = 2
    tools = ("transformers",)
    seeded = False
    traits = ()

    class Config(PassConfig):
        num_splits: int | None = Field(None, ge=1, description="How many parts of about the same size.")
        block_to_split: str | list[str] | None = Field(
            None, description="The list of blocks to split, or several, by their paths; default: the model's own."
        )
        cost_model: LocalPath | None = Field(
            None,
            description="A CSV file with a line per module (`module`, `num_bytes`, and `num_flops` if wanted): parts "
            "are then of the same cost, and a module that has weights and computes nothing is a part by itself.",
        )
        max_part_bytes: int | None = Field(
            None, ge=1, description="With a cost model, in place of `num_splits`: the most that a part may have."
        )
        unique_embeds_lm_head_splits: bool = Field(False, description="Embedding and head become parts of their own.")

    @classmethod
    def problems(cls, config: Any, kinds: Sequence[type[Artifact]]) -> list[str]:
        if config.max_part_bytes is not None and config.cost_model is None:
            return ["max_part_bytes needs a cost_model"]
        if (config.num_splits is None) == (config.max_part_bytes is None):
            return ["say num_splits, or a cost_model with num_splits or max_part_bytes"]
        return []

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.convert._split_info import capture

        return capture(model, config, context)
