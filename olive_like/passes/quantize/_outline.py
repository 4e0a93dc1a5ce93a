"""The shape of well-known decoders, from the names in their files: importing their classes takes longer than rounding.

Only where every tensor is one that such a decoder has; all others go through transformers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from olive_like.passes.quantize._checkpoint import Checkpoint
from olive_like.passes.quantize._skeleton import Skeleton

_LLAMA = (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip
_PHI3 = ("self_attn.o_proj", "self_attn.qkv_proj", "mlp.gate_up_proj", "mlp.down_proj")
# Class in config.json -> the linear layers of a block, in the order in which the class has them.
LAYERS: dict[str, tuple[str, ...]] = {
    "Gemma2ForCausalLM": _LLAMA,
    "GemmaForCausalLM": _LLAMA,
    "GraniteForCausalLM": _LLAMA,
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Olmo2ForCausalLM": _LLAMA,
    "Phi3ForCausalLM": _PHI3,
    "Qwen2ForCausalLM": _LLAMA,
    "Qwen3ForCausalLM": _LLAMA,
    "SmolLM3ForCausalLM": _LLAMA,
}
_EMBEDDING, _HEAD = "model.embed_tokens", "lm_head"
_IN_BLOCK = re.compile(r"model\.layers\.(\d+)\.(.+)")


class _Linear(nn.Linear):
    def reset_parameters(self) -> None:
        """Values are not wanted."""


class _Embedding(nn.Embedding):
    def reset_parameters(self) -> None:
        """Values are not wanted."""


class _Decoder(nn.Module):
    """As much of a decoder as a quantiser of weights asks for."""

    base_model_prefix = "model"

    def __init__(self, embedding: torch.Size, blocks: list[dict[str, torch.Size]]) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = _Embedding(*embedding)
        self.model.layers = nn.ModuleList([_block(layers) for layers in blocks])
        self.lm_head = _Linear(embedding[1], embedding[0], bias=False)

    def get_input_embeddings(self) -> nn.Module:
        return self.get_submodule(_EMBEDDING)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head


class _Config:
    def __init__(self, tied: bool) -> None:
        self.tie_word_embeddings = tied

    def get_text_config(self, decoder: bool = True) -> _Config:
        return self


def _block(layers: dict[str, torch.Size]) -> nn.Module:
    block = nn.Module()
    for name, (outputs, inputs) in layers.items():
        part, _, leaf = name.partition(".")
        if part not in dict(block.named_children()):
            block.add_module(part, nn.Module())
        block.get_submodule(part).add_module(leaf, _Linear(inputs, outputs, bias=False))
    return block


def outline(folder: Path) -> Skeleton | None:
    """The skeleton of a dense decoder that is known by its class; None for all else."""
    file = folder / "config.json"
    document: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    order = LAYERS.get((document.get("architectures") or [""])[0])
    if order is None or "quantization_config" in document or "tie_word_embeddings" not in document:
        return None
    checkpoint = Checkpoint.of(folder)
    blocks = _blocks(checkpoint, order)
    if blocks is None or len(blocks) != document.get("num_hidden_layers"):
        return None
    embedding = torch.Size(checkpoint.entries[f"{_EMBEDDING}.weight"].shape)
    with torch.device("meta"):
        model = _Decoder(embedding, blocks)
    return Skeleton(model, _Config(bool(document["tie_word_embeddings"])), checkpoint, None)


def _blocks(checkpoint: Checkpoint, order: tuple[str, ...]) -> list[dict[str, torch.Size]] | None:
    """The matrices of every block, if all blocks have all of them and nothing else has axes."""
    found: dict[int, dict[str, torch.Size]] = {}
    outer = set()
    for name, entry in checkpoint.entries.items():
        place = _IN_BLOCK.fullmatch(name)
        layer = place[2].removesuffix(".weight") if place else ""
        if place and layer in order and len(entry.shape) == 2:
            found.setdefault(int(place[1]), {})[layer] = torch.Size(entry.shape)
        elif not place:
            outer.add(name)
        elif len(entry.shape) != 1:
            return None
    if f"{_EMBEDDING}.weight" not in outer or outer - {f"{_EMBEDDING}.weight", f"{_HEAD}.weight", "model.norm.weight"}:
        return None
    if set(found) != set(range(len(found))) or any(len(block) != len(order) for block in found.values()):
        return None
    return [{layer: found[index][layer] for layer in order} for index in range(len(found))]
