"""Quantised folders as dense torch models: for evaluation, conversion and fine-tuning without another package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from olive_like.errors import PassError
from olive_like.passes.quantize._checkpoint import Checkpoint
from olive_like.passes.quantize._grid import dequantize
from olive_like.passes.quantize._pack import unpack_weight, unpack_zeros
from olive_like.passes.quantize._skeleton import load_skeleton, model_class


def quantization_of(folder: Path) -> dict[str, Any] | None:
    """The `quantization_config` of a folder, if it has one."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    found = getattr(config, "quantization_config", None)
    return None if found is None else dict(found if isinstance(found, dict) else found.to_dict())


def load_quantized(
    folder: Path, auto_class: Any = None, dtype: torch.dtype | str = torch.float32, **kwargs: Any
) -> Any:
    """The model of a quantised folder with dense weights of type `dtype` ("auto": the config's), on the CPU.

    `auto_class` (AutoModelForCausalLM …) as for transformers; without it the class that the config names.
    """
    found = quantization_of(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    cls = auto_class or model_class(config)
    if found is None or found.get("quant_method") != "gptq":
        return cls.from_pretrained(folder, dtype=dtype, local_files_only=True, **kwargs)
    del config.quantization_config
    if auto_class is not None:
        cls = class_for(auto_class, config)
    if isinstance(dtype, str):
        dtype = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    state = dict(dense_tensors(folder, dtype))
    model, info = cls.from_pretrained(
        None, config=config, state_dict=state, dtype=dtype, output_loading_info=True, **kwargs
    )
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise PassError(f"{folder} lacks weights that {cls.__name__} needs: {', '.join(missing[:3])}")
    return model.eval()


def class_for(auto_class: Any, config: Any) -> Any:
    try:
        cls = auto_class._model_mapping[type(config)]
    except KeyError:
        raise PassError(f"{auto_class.__name__} has no model for {type(config).__name__}") from None
    return cls[0] if isinstance(cls, (list, tuple)) else cls


def dense_tensors(folder: Path, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a GPTQ folder by its ordinary name, quantised ones widened, one at a time.

    A head that stands for the embedding too (they were tied and quantised alike) comes under both names.
    """
    config = quantization_of(folder)
    if config is None or config.get("quant_method") != "gptq":
        raise PassError(f"{folder} is not in the GPTQ format")
    skeleton = load_skeleton(folder)
    transposed = {name for name, module in skeleton.model.named_modules() if type(module).__name__ == "Conv1D"}
    seen = set()
    for name in skeleton.checkpoint.entries:
        layer, _, part = name.rpartition(".")
        if part == "qweight":
            weight = read_layer(skeleton.checkpoint, layer, config).to(dtype)
            seen.add(layer)
            base = layer.removeprefix(f"{skeleton.model.base_model_prefix}.")
            flip = any(t == layer or t.endswith("." + base) for t in transposed)
            yield f"{layer}.weight", weight.T.contiguous() if flip else weight
            embedding = (config.get("meta") or {}).get("embedding")
            if layer == skeleton.head and embedding and f"{embedding}.qweight" not in skeleton.checkpoint:
                yield f"{embedding}.weight", weight
        elif part not in {"qzeros", "scales", "g_idx"}:
            tensor = skeleton.checkpoint.read(name)
            yield name, tensor.to(dtype) if tensor.is_floating_point() else tensor


def layer_bits(config: dict[str, Any], layer: str) -> int:
    """Bits of one layer: the config's, or what `dynamic` says of it."""
    for pattern, own in (config.get("dynamic") or {}).items():
        if pattern.startswith("+:") and re.match(pattern[2:] + r"(\.|$)", layer):
            return int(own.get("bits", config["bits"]))
        if not pattern.startswith(("+:", "-:")) and re.match(pattern, layer):
            return int(own.get("bits", config["bits"]))
    return int(config["bits"])


def read_layer(checkpoint: Checkpoint, layer: str, config: dict[str, Any]) -> torch.Tensor:
    """The dense [out, in] weight of one layer in the GPTQ format."""
    bits = layer_bits(config, layer)
    g_idx = checkpoint.read(f"{layer}.g_idx")
    scales = checkpoint.read(f"{layer}.scales").T
    codes = unpack_weight(checkpoint.read(f"{layer}.qweight"), bits, len(g_idx))
    zeros = unpack_zeros(checkpoint.read(f"{layer}.qzeros"), bits, scales.shape[0])
    if config.get("checkpoint_format") == "gptq_v2":
        zeros = (zeros - 1) & (2**bits - 1)
    return dequantize(codes, scales, zeros, g_idx)
