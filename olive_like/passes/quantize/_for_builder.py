"""A quantised folder as onnxruntime-genai's builder reads it: the same numbers, laid out for its loader.

The builder takes GPTQ layers of 2, 4 and 8 bits whose groups divide their inputs and are powers of two, from 16 on,
and whose outputs fill whole words. Other groups are written as several smaller ones with the same scale, a head of
another length is widened: the weights stay what they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from olive_like.errors import PassError
from olive_like.passes.quantize._checkpoint import Checkpoint, copy_side_files, save
from olive_like.passes.quantize._dequant import layer_bits, quantization_of, read_layer
from olive_like.passes.quantize._output import write_config
from olive_like.passes.quantize._skeleton import Skeleton, choose, load_skeleton, pick_spec

_LEAST = 16


def for_builder(source: Path, target: Path, note: Callable[[str], None]) -> tuple[Path, dict[str, str]]:
    """The folder to build from, `source` itself where that will do, and options that the builder needs with it."""
    settings = quantization_of(source)
    if settings is None or settings.get("quant_method") != "gptq":
        return source, {}
    skeleton = load_skeleton(source)
    _check_whole(skeleton)
    layers = [name.removesuffix(".qweight") for name in skeleton.checkpoint.entries if name.endswith(".qweight")]
    options: dict[str, str] = {}
    if _differ_in_attention(layers, settings):
        options["disable_qkv_fusion"] = "true"
    embedding = (settings.get("meta") or {}).get("embedding")
    shared = bool(embedding) and f"{embedding}.qweight" not in skeleton.checkpoint
    regrouped = {layer: size for layer in layers if (size := _builder_group(skeleton.checkpoint, layer, settings))}
    widened = _partial_words(skeleton, layers, settings)
    if not regrouped and not embedding and not widened:
        return source, options
    target.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for name in skeleton.checkpoint.entries:
        layer = name.rpartition(".")[0]
        if layer in (embedding, widened):
            continue
        if layer not in regrouped:
            tensors[name] = skeleton.checkpoint.read(name)
        elif name.endswith(".qweight"):
            tensors |= _regroup(skeleton.checkpoint, layer, regrouped[layer])
    changes: dict[str, Any] = {"quantization_config": _dynamic(settings, regrouped)}
    dtype = getattr(torch, str(skeleton.config.dtype).removeprefix("torch."), torch.float32)
    if embedding:
        # The builder's gather of quantised rows wants scales in another shape than its loader makes of these.
        stored = skeleton.head if shared else embedding
        tensors[f"{embedding}.weight"] = read_layer(skeleton.checkpoint, str(stored), settings).to(dtype)
        note("the builder reads no quantised embedding: it is built from the same values, widened")
    if widened:
        changes["quantization_config"]["lm_head"] = False
        note(f"{widened} is built from the same values, widened: the builder takes whole words of zero points only")
    if widened and not shared:
        tensors[f"{widened}.weight"] = read_layer(skeleton.checkpoint, widened, settings).to(dtype)
    if embedding and not (widened and shared):
        changes["tie_word_embeddings"] = False
        note("GraphSurgeries with TieWordEmbeddings joins the embedding with the head again")
    save(target / "model.safetensors", tensors)
    write_config(target, source, changes)
    copy_side_files(source, target)
    return target, options


def _check_whole(skeleton: Skeleton) -> None:
    left = choose(skeleton, spec=pick_spec(4, -1, False, {}), lm_head=False)
    if left:
        raise PassError(
            f"the builder cannot mix quantised blocks with dense layers such as {left[0].module}",
            "Give the layer 8 bits by an override instead of leaving it out.",
        )


def _partial_words(skeleton: Skeleton, layers: list[str], settings: dict[str, Any]) -> str | None:
    """The head, if zero points of its outputs leave a word of 32 bits partly empty."""
    found = None
    for layer in layers:
        outputs, per_word = skeleton.checkpoint.entries[f"{layer}.scales"].shape[1], 32 // layer_bits(settings, layer)
        if outputs % per_word and layer != skeleton.head:
            raise PassError(
                f"{layer} has {outputs} outputs, no multiple of {per_word}, which the builder cannot hold",
                "Leave its block dense, or export the unquantised model and quantise the ONNX graph.",
            )
        found = layer if outputs % per_word else found
    return found


def _differ_in_attention(layers: list[str], settings: dict[str, Any]) -> bool:
    bits: dict[str, set[int]] = {}
    for layer in layers:
        if re.search(r"self_attn\.[qkv]_proj$", layer):
            bits.setdefault(layer.rpartition(".")[0], set()).add(layer_bits(settings, layer))
    return any(len(found) > 1 for found in bits.values())


def _builder_group(checkpoint: Checkpoint, layer: str, settings: dict[str, Any]) -> int | None:
    """The group size to write a layer with, or None where it can stay as it is."""
    bits = layer_bits(settings, layer)
    if bits == 3:
        raise PassError(f"{layer} has 3 bits, which the builder does not read", "Use 2, 4 or 8 bits.")
    inputs, groups = checkpoint.entries[f"{layer}.g_idx"].shape[0], checkpoint.entries[f"{layer}.scales"].shape[0]
    if settings.get("desc_act"):
        return None
    g_idx = checkpoint.read(f"{layer}.g_idx")
    size = int((g_idx == 0).sum())
    common = math.gcd(size, inputs)
    power = common & -common
    if power == size and groups * size == inputs:
        return None
    if power < _LEAST:
        raise PassError(
            f"{layer} has {inputs} inputs in groups of {size}, which onnxruntime cannot hold",
            f"Choose a group size that is a power of two from {_LEAST} and divides {inputs}.",
        )
    return power


def _regroup(checkpoint: Checkpoint, layer: str, size: int) -> dict[str, torch.Tensor]:
    g_idx = checkpoint.read(f"{layer}.g_idx")
    index = g_idx[::size].long()
    return {
        f"{layer}.qweight": checkpoint.read(f"{layer}.qweight"),
        f"{layer}.scales": checkpoint.read(f"{layer}.scales")[index],
        f"{layer}.qzeros": checkpoint.read(f"{layer}.qzeros")[index],
        f"{layer}.g_idx": torch.arange(len(g_idx), dtype=torch.int32) // size,
    }


def _dynamic(settings: dict[str, Any], regrouped: dict[str, int]) -> dict[str, Any]:
    dynamic = dict(settings.get("dynamic") or {})
    for layer, size in regrouped.items():
        key = f"+:{re.escape(layer)}"
        dynamic[key] = {**dynamic.get(key, {}), "group_size": size}
    return {**settings, "dynamic": dynamic}
