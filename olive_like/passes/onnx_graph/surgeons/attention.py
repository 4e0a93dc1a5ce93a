"""Surgeons on attention and position embeddings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.passes.onnx_graph.surgeons.base import SurgeonSettings


class RemoveRopeMultiCache(SurgeonSettings):
    """Replace the choice between a short and a long rotary cache by one of them."""

    surgeon: Literal["RemoveRopeMultiCache"]
    use_large_cache: bool = Field(False, description="Keep the long cache.")


class AttentionMaskToSequenceLengths(SurgeonSettings):
    """Take the sequence lengths of GroupQueryAttention as inputs, instead of the mask that they come from."""

    surgeon: Literal["AttentionMaskToSequenceLengths"]


class PackedAttentionToLoopMHA(SurgeonSettings):
    """Write PackedAttention over several images as a Loop of MultiHeadAttention."""

    surgeon: Literal["PackedAttentionToLoopMHA"]


class PackedAttentionToPackedMHA(SurgeonSettings):
    """Write PackedAttention over several images as onnxruntime's PackedMultiHeadAttention, which GPUs have."""

    surgeon: Literal["PackedAttentionToPackedMHA"]


class DecomposeRotaryEmbedding(SurgeonSettings):
    """Write onnxruntime's RotaryEmbedding in ONNX's own operators."""

    surgeon: Literal["DecomposeRotaryEmbedding"]
