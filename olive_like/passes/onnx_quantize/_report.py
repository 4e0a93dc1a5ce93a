"""What quantisation did: sizes, bits per weight, and the error of every weight."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_files import components, load_ir
from olive_like.passes._onnx_rewrite import model_bytes
from olive_like.passes.base import Context

FILE = "quantization.json"


@dataclass(frozen=True)
class WeightError:
    """How far a quantised weight is from what it was."""

    name: str
    bits: float  # all that is stored, scales and zero points included, per weight
    relative: float  # norm of the difference by norm of the weight
    cosine: float


def weight_error(name: str, before: np.ndarray, after: np.ndarray, stored: int) -> WeightError:
    """The error of one weight whose quantised form takes `stored` bytes."""
    a, b = before.reshape(-1), after.reshape(-1)
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    return from_products(name, norm_a, norm_b, float(np.dot(a, b)), float(np.linalg.norm(a - b)), a.size, stored)


def from_products(
    name: str, norm_a: float, norm_b: float, dot: float, difference: float, count: int, stored: int
) -> WeightError:
    """The same from the norms and the product alone."""
    relative = difference / norm_a if norm_a else difference
    cosine = dot / (norm_a * norm_b) if norm_a and norm_b else float(norm_a == norm_b)
    return WeightError(name, round(8 * stored / max(count, 1), 4), round(relative, 6), round(min(cosine, 1.0), 6))


def sizes(model: OnnxModel) -> dict[str, int]:
    """Bytes of the model's weights by type."""
    total: dict[str, int] = {}
    for path in components(model).values():
        for graph in load_ir(path).graphs():
            for value in graph.initializers.values():
                tensor = value.const_value
                if tensor is not None and tensor.dtype != ir.DataType.STRING:
                    total[tensor.dtype.name.lower()] = total.get(tensor.dtype.name.lower(), 0) + tensor.nbytes
    return dict(sorted(total.items()))


def record(context: Context, before: OnnxModel, errors: list[WeightError], **more: Any) -> None:
    """Write the report beside the model and its main numbers into the run's record."""
    after = OnnxModel(context.output, before.attributes)
    old, new = model_bytes(before), model_bytes(after)
    summary: dict[str, Any] = {
        "bytes_before": old,
        "bytes_after": new,
        "weight_bytes_before": sizes(before),
        "weight_bytes_after": sizes(after),
        **more,
    }
    context.metric("bytes_before", old)
    context.metric("bytes_after", new)
    context.metric("size_ratio", round(new / old, 4))
    if errors:
        worst = max(errors, key=lambda error: error.relative)
        summary["worst_weight"] = worst.name
        context.metric("bits_per_weight", round(float(np.mean([error.bits for error in errors])), 4))
        context.metric("mean_weight_error", round(float(np.mean([error.relative for error in errors])), 6))
        context.metric("worst_weight_error", worst.relative)
    summary["weights"] = [asdict(error) for error in errors]
    (context.output / FILE).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
