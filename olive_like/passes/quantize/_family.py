"""Where scales and rotations can be moved inside a decoder block: what each norm and layer feeds.

Found by the names that Llama, Mistral, Qwen, Phi-3, Gemma, SmolLM, OLMo and their like share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from olive_like.errors import PassError

_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_MLP_NORMS = ("pre_feedforward_layernorm", "post_attention_layernorm")


@dataclass(frozen=True)
class Fold:
    """A factor per channel that `source` can take so that its `readers` may have the inverse."""

    source: str
    readers: tuple[str, ...]
    norm: bool
    rows: tuple[int, int] | None = None  # which outputs of a fused source
    repeat: int = 1  # grouped-query attention: how many heads of the reader share one of the source
    head: int = 1  # width of a head, where repeat counts


@dataclass(frozen=True)
class Family:
    """The named parts of a model's blocks."""

    attention_norm: str
    mlp_norm: str
    attention_in: tuple[str, ...]
    attention_out: str
    mlp_in: tuple[str, ...]
    mlp_out: str
    value: str
    value_rows: tuple[int, int] | None
    heads: int
    kv_heads: int
    head_dim: int
    gated: bool

    def folds(self) -> list[Fold]:
        found = [
            Fold(self.attention_norm, self.attention_in, norm=True),
            Fold(
                self.value, (self.attention_out,), norm=False, rows=self.value_rows,
                repeat=self.heads // self.kv_heads, head=self.head_dim,
            ),
            Fold(self.mlp_norm, self.mlp_in, norm=True),
        ]  # fmt: skip
        if self.gated:
            found.append(Fold(self.mlp_in[-1], (self.mlp_out,), norm=False, rows=self._up_rows()))
        return found

    def _up_rows(self) -> tuple[int, int] | None:
        return None if len(self.mlp_in) == 2 else (-1, -1)  # the second half of a fused gate and up


def family_of(block: nn.Module, config: Any, what: str) -> Family:
    """The parts of a block, or a clear word where the model is of another build."""
    modules = dict(block.named_modules())
    text = config.get_text_config(decoder=True)
    mlp_norm = next((name for name in _MLP_NORMS if name in modules), None)
    fused = "self_attn.qkv_proj" in modules
    fused_mlp = "mlp.gate_up_proj" in modules
    wanted = ["input_layernorm", "self_attn.o_proj", "mlp.down_proj"]
    wanted += ["self_attn.qkv_proj"] if fused else list(_QKV)
    wanted += ["mlp.gate_up_proj"] if fused_mlp else ["mlp.gate_proj", "mlp.up_proj"]
    missing = [name for name in wanted if not isinstance(modules.get(name), nn.Module)]
    if missing or mlp_norm is None:
        raise PassError(
            f"{what} does not know the blocks of {type(block).__name__}: they have no {(missing or ['mlp norm'])[0]}",
            "It takes Llama, Mistral, Qwen, Phi-3, Gemma and models built like them. Gptq and Rtn take any.",
        )
    heads = text.num_attention_heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    value_rows = ((heads + kv_heads) * head_dim, (heads + 2 * kv_heads) * head_dim) if fused else None
    return Family(
        "input_layernorm", mlp_norm,
        ("self_attn.qkv_proj",) if fused else _QKV, "self_attn.o_proj",
        ("mlp.gate_up_proj",) if fused_mlp else ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj",
        "self_attn.qkv_proj" if fused else "self_attn.v_proj", value_rows, heads, kv_heads, head_dim, True,
    )  # fmt: skip


def norm_offset(module: nn.Module) -> float:
    """What a norm adds to its weight before it multiplies: Gemma's count from one."""
    return 1.0 if type(module).__name__.startswith("Gemma") else 0.0


def scale_norm(module: nn.Module, factor: torch.Tensor) -> None:
    """Multiply what a norm gives out, channel by channel."""
    offset = norm_offset(module)
    module.weight.copy_((module.weight + offset) * factor - offset)
    if getattr(module, "bias", None) is not None:
        module.bias.mul_(factor)


def move(block: nn.Module, fold: Fold, scale: torch.Tensor) -> list[str]:
    """Divide the source by `scale` (per channel of the source) and multiply the readers; names of what changed."""
    inverse = 1 / scale
    source = block.get_submodule(fold.source)
    if fold.norm:
        scale_norm(source, inverse)
    else:
        start, stop = rows_of(source, fold)
        source.weight[start:stop].mul_(inverse.unsqueeze(1))
        if source.bias is not None:
            source.bias[start:stop].mul_(inverse)
    wide = widen(scale, fold)
    for name in fold.readers:
        block.get_submodule(name).weight.mul_(wide)
    return [fold.source, *fold.readers]


def rows_of(source: nn.Module, fold: Fold) -> tuple[int, int]:
    total = source.weight.shape[0]
    if fold.rows is None:
        return 0, total
    return (total // 2, total) if fold.rows == (-1, -1) else fold.rows


def widen(per_source: torch.Tensor, fold: Fold) -> torch.Tensor:
    """One value per channel of the source as one per input of the readers."""
    if fold.repeat == 1:
        return per_source
    return per_source.view(-1, 1, fold.head).expand(-1, fold.repeat, fold.head).reshape(-1)


def narrow(per_reader: torch.Tensor, fold: Fold) -> torch.Tensor:
    """The mean over the heads that share a channel of the source."""
    return per_reader if fold.repeat == 1 else per_reader.view(-1, fold.repeat, fold.head).mean(1).reshape(-1)
