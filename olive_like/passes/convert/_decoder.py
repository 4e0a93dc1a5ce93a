"""Decoders: tokens, mask, positions and the cache in; logits and the grown cache out."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from olive_like.errors import PassError
from olive_like.passes.convert._parts import Flat, Part, reference, some_tokens
from olive_like.passes.convert._switchable import Held


class DecoderWithPast(Flat):
    """A causal language model whose cache is a flat list: key and value of each layer in turn."""

    def __init__(self, inner: torch.nn.Module, names: list[str]) -> None:
        super().__init__(inner)
        self.names = names

    def forward(self, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        named = dict(zip(self.names, tensors[: len(self.names)], strict=True))
        past = tensors[len(self.names) :]
        outputs = self.inner(**named, past_key_values=filled_cache(past), use_cache=True)
        return (outputs.logits, *_flat(outputs.past_key_values))


class ScoringDecoder(DecoderWithPast):
    """The same with one more output: scores of every position, for adapters that classify."""

    def __init__(self, inner: Any, names: list[str], head: torch.Tensor) -> None:
        super().__init__(inner, names)
        self.scores = torch.nn.ModuleDict({"lora_head": Held(head)})
        self._seen: list[torch.Tensor] = []
        inner.get_output_embeddings().register_forward_pre_hook(lambda _, given: self._seen.append(given[0]))

    def forward(self, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        made = super().forward(tensors)
        return (*made, self._seen.pop() @ self.scores["lora_head"].weight)


def filled_cache(past: list[torch.Tensor]) -> DynamicCache:
    """A cache of these keys and values.

    No config: every layer keeps all that it has seen, and sliding windows are left to the mask. Layers that forget
    would make the cache's length depend on the layer and on what was cut off before.
    """
    cache = DynamicCache()
    for keys, values in zip(past[::2], past[1::2], strict=True):
        layer = DynamicLayer()  # not by `update`, which joins to nothing what comes first: one more step to trace
        layer.keys, layer.values = keys, values
        layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
        cache.layers.append(layer)
    return cache


def _flat(cache: Any) -> list[torch.Tensor]:
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def decoder_part(
    model: Any, dtype: torch.dtype, prefix: str, sequence: int | None, text: torch.Tensor | None = None
) -> Part:
    """The one graph for prefill and decoding; `sequence` fixes its length, at batch 1 and without a past."""
    config = model.config.get_text_config()
    accepted = inspect.signature(model.forward).parameters
    names = [name for name in ("input_ids", "attention_mask", "position_ids") if name in accepted]
    shapes = _cache_shapes(model, names)
    cache_names = [f"{i}.{kind}" for i in range(len(shapes) // 2) for kind in ("key", "value")]
    module = DecoderWithPast(model, names).eval()
    limit = int(getattr(config, "max_position_embeddings", None) or 2048)

    def inputs(batch: int, length: int, past: int, filled: bool, padded: int = 0) -> dict[str, torch.Tensor]:
        feeds = _text(names, batch, length, past, config.vocab_size, model.device, padded, 0, text)
        sizes = [(batch, heads, past, width) for heads, width in shapes]
        cache = [torch.zeros(size, dtype=dtype, device=model.device) for size in sizes]
        if past and filled:
            before = _text(names, batch, past, 0, config.vocab_size, model.device, padded, 1, text)
            empty = [torch.zeros(batch, heads, 0, width, dtype=dtype, device=model.device) for heads, width in shapes]
            with torch.no_grad():
                cache = list(module([*before.values(), *empty])[1:])
        return feeds | {f"{prefix}.{name}": tensor for name, tensor in zip(cache_names, cache, strict=True)}

    def samples() -> list[dict[str, torch.Tensor]]:
        if sequence is not None:
            return [inputs(1, sequence, 0, True)]
        # batch, new tokens, past, and how many of the past are padding in the first row
        cases = [(1, 5, 0, 0), (3, 5, 1, 0), (3, 5, 100, 9)]
        return [inputs(b, s, p, True, padded) for b, s, p, padded in cases if p + s <= limit]

    part = Part(
        name="model",
        file="model.onnx",
        module=module,
        example=inputs(1, sequence, 0, False) if sequence is not None else inputs(2, 3, 4, False),
        outputs=["logits", *(f"present.{name}" for name in cache_names)],
        axes={} if sequence is not None else _axes(names, prefix, cache_names),
        samples=samples,
        text=text,
        attributes={
            "vocab_size": config.vocab_size,
            "kv_cache": {
                "layers": len(shapes) // 2,
                "heads": shapes[0][0],
                "head_size": shapes[0][1],
                "dtype": str(dtype).removeprefix("torch."),
                "past": prefix,
                "present": "present",
            },
        },
    )
    reference(part, part.example)  # what cannot run at all is found here, with PyTorch's own words
    return part


def _text(
    names: list[str],
    batch: int,
    length: int,
    past: int,
    vocabulary: int,
    device: torch.device,
    padded: int = 0,
    seed: int = 0,
    text: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Tokens, and the mask and positions of a batch whose first row begins with padding."""
    mask = torch.ones(batch, past + length, dtype=torch.long)
    mask[0, :padded] = 0
    made = {
        "input_ids": some_tokens(batch, length, vocabulary, seed, text),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)[:, past:],
    }
    return {name: made[name].to(device) for name in names}


def _axes(names: list[str], prefix: str, cache_names: list[str]) -> dict[str, dict[int, str]]:
    known = {
        "input_ids": {0: "batch_size", 1: "sequence_length"},
        "attention_mask": {0: "batch_size", 1: "total_sequence_length"},
        "position_ids": {0: "batch_size", 1: "sequence_length"},
    }
    axes = {name: known[name] for name in names}
    axes["logits"] = {0: "batch_size", 1: "sequence_length"}
    for name in cache_names:
        axes[f"{prefix}.{name}"] = {0: "batch_size", 2: "past_sequence_length"}
        axes[f"present.{name}"] = {0: "batch_size", 2: "total_sequence_length"}
    return axes


@torch.no_grad()
def _cache_shapes(model: Any, names: list[str]) -> list[tuple[int, int]]:
    """Heads and width of every key and value, from a real step: configs name them in too many ways."""
    vocabulary = model.config.get_text_config().vocab_size
    outputs = model(**_text(names, 1, 2, 0, vocabulary, model.device), past_key_values=DynamicCache(), use_cache=True)
    cache = getattr(outputs, "past_key_values", None)
    layers = getattr(cache, "layers", [])
    odd = next((layer for layer in layers if not isinstance(layer, DynamicLayer)), None)
    if not layers or odd is not None:
        what = f"layers of the kind {type(odd).__name__}" if odd is not None else "no key-value cache"
        raise PassError(
            f"{type(model).__name__} has {what}, which cannot become flat inputs of a graph",
            "Try the pass ModelBuilder, which has graphs of its own for some of these models.",
        )
    return [(tensor.shape[1], tensor.shape[3]) for tensor in _flat(cache)]
