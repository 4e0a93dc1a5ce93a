"""Attention within each document of a row that holds several: nothing is padded, nothing sees its neighbours."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "olive_like_documents"

# Architectures whose attention goes through transformers' interface with rotary positions and a plain causal mask.
MODELS = frozenset(
    {
        *("llama", "mistral", "smollm3", "granite", "starcoder2", "stablelm", "cohere"),
        *("qwen2", "qwen3", "phi", "phi3", "gemma", "olmo2", "olmo3", "glm", "glm4"),
    }
)


def register() -> None:
    """Make the attention known to transformers under NAME."""
    AttentionInterface.register(NAME, documents_attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def supports(config: Any) -> bool:
    """Whether rows of several documents can be trained exactly."""
    return config.model_type in MODELS and not getattr(config, "attn_logit_softcapping", None)


def _no_mask(*_: Any, **__: Any) -> None:
    """The lengths of the documents say it all."""


def documents_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    document_lengths: list[int] | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention, one document after the other.

    The tensors are split, not sliced: the gradient of a split is one concatenation, that of slices a sum of
    full-sized tensors.
    """
    groups = getattr(module, "num_key_value_groups", 1)
    if groups > 1 and query.device.type == "cpu":
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        groups = 1
    lengths = document_lengths or [query.shape[2]]
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    outputs = []
    for q, k, v in parts:
        size = q.shape[2]
        mask = None
        if sliding_window is not None and size > sliding_window:
            positions = torch.arange(size, device=q.device)
            distance = positions[:, None] - positions[None, :]
            mask = (distance >= 0) & (distance < sliding_window)
        outputs.append(
            F.scaled_dot_product_attention(
                q, k, v, mask, dropout, is_causal=mask is None and size > 1, scale=scaling, enable_gqa=groups > 1
            )
        )
    return torch.cat([part.transpose(1, 2) for part in outputs], 1), None
