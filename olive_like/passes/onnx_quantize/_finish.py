"""The common end of every quantising pass: the model proved, a report beside it, and how fast it is now."""

from __future__ import annotations

from typing import Any

from olive_like.artifacts import OnnxModel
from olive_like.passes._onnx_rewrite import prove
from olive_like.passes.base import Context
from olive_like.passes.onnx_quantize._decoding import tell_speed
from olive_like.passes.onnx_quantize._report import WeightError, record
from olive_like.passes.onnx_quantize.settings import QuantizingConfig

# Largest difference of an output, as a part of its largest value, that quantisation may make before it is called out.
_TOLERANCE = {2: 2.0, 4: 0.5, 8: 0.15, 16: 0.05}


def complete(
    model: OnnxModel,
    config: QuantizingConfig,
    context: Context,
    errors: list[WeightError],
    precision: str,
    bits: int,
    **more: Any,
) -> OnnxModel:
    """The finished artifact, with its report."""
    result = prove(model, config, context, _TOLERANCE[bits], attributes={"precision": precision})
    record(context, model, errors, precision=precision, **more)
    tell_speed(model, result, config.measure_speed, context)
    return result
