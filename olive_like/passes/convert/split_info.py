"""Marks for splitting a model before it is exported."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import HfModel
from olive_like.marks import LocalPath
from olive_like.passes.base import Pass, PassConfig


class CaptureSplitInfo(Pass):
    """Note which blocks of a model belong to which part, for SplitModel after the export."""

    accepts = HfModel
    produces = HfModel

    class Config(PassConfig):
        num_splits: int | None = Field(None, ge=1, description="How many parts of the same number of blocks.")
        block_to_split: str | list[str] | None = Field(None, description="The list of blocks to split, by its path.")
        cost_model: LocalPath | None = Field(None, description="A table of what each block costs, to split by cost.")
        unique_embeds_lm_head_splits: bool = Field(False, description="Embedding and head become parts of their own.")
