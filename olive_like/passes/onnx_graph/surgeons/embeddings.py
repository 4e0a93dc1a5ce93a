"""Surgeons on the embedding table and the layer that it is shared with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.passes.onnx_graph.surgeons.base import SurgeonSettings


class TieWordEmbeddings(SurgeonSettings):
    """Let the embedding and the output layer share one weight, quantised or not."""

    surgeon: Literal["TieWordEmbeddings"]


class ShareEmbeddingLmHead(SurgeonSettings):
    """Let the embedding and the output layer share one weight, quantised or not."""

    surgeon: Literal["ShareEmbeddingLmHead"]


class QuantizeEmbeddingInt8(SurgeonSettings):
    """Quantise embedding tables to 8 bits per block."""

    surgeon: Literal["QuantizeEmbeddingInt8"]
    block_size: Literal[16, 32, 64, 128, 256] = Field(32, description="How many weights of a row share a scale.")


class PruneLmHead(SurgeonSettings):
    """Logits of the last position alone, which is all that generating reads; a prompt is read faster."""

    surgeon: Literal["PruneLmHead"]
