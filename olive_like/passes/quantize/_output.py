"""What a quantiser writes beside the tensors: the config, the measured effect, and the summary's numbers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context
from olive_like.passes.quantize._grid import Quantized, Spec
from olive_like.passes.quantize._pack import pack_weight, pack_zeros, word_rows
from olive_like.passes.quantize._skeleton import Skeleton, Target, choose

PARTS = ("qweight", "qzeros", "scales", "g_idx")


def layout(target: Target) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Types and shapes of what is stored for a layer."""
    spec, groups = target.spec, target.spec.groups(target.inputs)
    return {
        "qweight": (torch.int32, (word_rows(target.inputs, spec.bits), target.outputs)),
        "qzeros": (torch.int32, (groups, word_rows(target.outputs, spec.bits))),
        "scales": (torch.float16, (groups, target.outputs)),
        "g_idx": (torch.int32, (target.inputs,)),
    }


def packed(layer: Quantized) -> dict[str, torch.Tensor]:
    """A layer in the GPTQ format."""
    return {
        "qweight": pack_weight(layer.codes, layer.spec.bits),
        "qzeros": pack_zeros(layer.zeros, layer.spec.bits),
        "scales": layer.scales.T.contiguous(),
        "g_idx": layer.g_idx,
    }


@dataclass
class LayerError:
    """How far a layer's weights moved. Sums, so that pieces of a layer can be added."""

    gap: float = 0.0
    weight: float = 0.0
    dot: float = 0.0
    rounded: float = 0.0

    def add(self, weight: torch.Tensor, rounded: torch.Tensor) -> None:
        flat = weight.reshape(-1)
        self.add_gap(flat, flat - rounded.reshape(-1))

    def add_gap(self, weight: torch.Tensor, difference: torch.Tensor) -> None:
        """The same from the weights and what is left of them when the rounded ones are taken away."""
        flat, gap = weight.view(-1), difference.view(-1)
        square, both, lost = float(flat.dot(flat)), float(flat.dot(gap)), float(gap.dot(gap))
        self.gap += lost
        self.weight += square
        self.dot += square - both
        self.rounded += square - 2 * both + lost

    def join(self, other: LayerError) -> None:
        """Take in what another piece of the layer lost."""
        self.gap += other.gap
        self.weight += other.weight
        self.dot += other.dot
        self.rounded += other.rounded

    def to_json(self) -> dict[str, float]:
        lengths = math.sqrt(self.weight * self.rounded)
        return {
            "relative_error": round(math.sqrt(self.gap / self.weight), 6) if self.weight else 0.0,
            "cosine": round(self.dot / lengths, 6) if lengths else 1.0,
        }


@dataclass
class Report:
    """The measured effect of a quantiser."""

    method: str
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, target: Target, error: dict[str, float]) -> None:
        spec = target.spec
        self.layers[target.module] = {
            "bits": spec.bits, "group_size": spec.group_size, "sym": spec.sym,
            "weights": target.outputs * target.inputs, **error,
        }  # fmt: skip

    def write(self, model: HfModel, output: Path, context: Context, bits: int) -> None:
        """Write quantize.json and tell the summary."""
        before, after = _bytes(model.path), _bytes(output)
        weights = sum(layer["weights"] for layer in self.layers.values())
        document = {
            "method": self.method,
            "bytes_before": before,
            "bytes_after": after,
            "quantized_weights": weights,
            "quantized_bits_per_weight": round(bits / weights, 4) if weights else None,
            "mean_relative_error": _mean([layer["relative_error"] for layer in self.layers.values()]),
            "layers": self.layers,
        }
        (output / "quantize.json").write_text(json.dumps(document, indent=2) + "\n")
        context.metric("size_before_mb", before / 1e6)
        context.metric("size_after_mb", after / 1e6)
        if weights:
            context.metric("bits_per_weight", bits / weights)
            context.metric("relative_error", document["mean_relative_error"])


def stored_bits(targets: list[Target]) -> int:
    """Bits of all that is stored for these layers, group indices aside (they are the same for all models)."""
    return sum(
        8 * math.prod(shape) * dtype.itemsize
        for target in targets
        for part, (dtype, shape) in layout(target).items()
        if part != "g_idx"
    )


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 6) if values else 0.0


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def quantization_config(
    default: Spec, group_size: int, targets: list[Target], skeleton: Skeleton, method: str, desc_act: bool = False
) -> dict[str, Any]:
    """The standard config of the GPTQ format; layers that differ and layers left out stand under `dynamic`.

    On a model that is partly quantised the config it has stays, and the new layers are added to it.
    """
    document: dict[str, Any] = skeleton.quantized or {
        "quant_method": "gptq",
        "checkpoint_format": "gptq",
        "bits": default.bits,
        "group_size": group_size,
        "sym": default.sym,
        "desc_act": desc_act,
        "true_sequential": False,
        "pack_dtype": "int32",
        "meta": {"quantizer": ["olive-like"], "method": method},
    }
    dynamic: dict[str, dict[str, Any]] = dict(document.get("dynamic") or {})
    for target in targets:
        size = document["group_size"]
        usual = {"bits": document["bits"], "group_size": size, "sym": document["sym"]}
        own = {
            "bits": target.spec.bits,
            "group_size": size
            if target.spec.group_size == (target.inputs if size == -1 else size)
            else target.spec.group_size,
            "sym": target.spec.sym,
        }
        different = {name: value for name, value in own.items() if value != usual[name]}
        if different:
            dynamic[f"+:{re.escape(target.module)}"] = different
    chosen = {target.module for target in targets}
    for layer in choose(skeleton, spec=lambda _, inputs: Spec(8, inputs, False), lm_head=False):
        if layer.module not in chosen:
            dynamic[f"-:{re.escape(layer.module)}"] = {}
    document["lm_head"] = bool(document.get("lm_head")) or skeleton.head in chosen
    if skeleton.embedding in chosen:
        document["meta"] = {**document.get("meta", {}), "embedding": skeleton.embedding}
    if dynamic:
        document["dynamic"] = dynamic
    return document


def write_config(folder: Path, source: Path, changes: dict[str, Any]) -> None:
    """The source's config.json with these entries changed; None takes one away."""
    document = json.loads((source / "config.json").read_text())
    for name, value in changes.items():
        if value is None:
            document.pop(name, None)
        else:
            document[name] = value
    (folder / "config.json").write_text(json.dumps(document, indent=2) + "\n")
