"""8- or 16-bit weights and activations, whose ranges are measured on calibration data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from olive_like.artifacts import Artifact, OnnxModel
from olive_like.passes.base import Context, PassConfig
from olive_like.passes.fields import DataRef
from olive_like.passes.onnx_pass import OnnxPass
from olive_like.passes.onnx_quantize.settings import IntegerConfig

StaticPrecision = Literal["int4", "uint4", "int8", "uint8", "int16", "uint16"]


class _CalibratedConfig(IntegerConfig):
    precision: StaticPrecision = Field("int8", description="Type of the quantised weights.")
    data_config: DataRef | None = Field(
        None, description="Calibration data; with none given, inputs are generated, and the run says so."
    )
    calibration_samples: int = Field(128, ge=1, description="How many examples to read at most.")
    calibrate_method: Literal["MinMax", "Entropy", "Percentile"] = Field(
        "MinMax", description="How an activation's range follows from what was measured."
    )
    calibration_providers: list[str] | None = Field(None, description="Execution providers to calibrate with.")
    quant_format: Literal["QDQ", "QOperator"] = Field(
        "QDQ", description="Pairs of QuantizeLinear and DequantizeLinear, or operators on integers."
    )
    activation_type: Literal["int8", "uint8", "int16", "uint16"] = Field(
        "int8", description="Type of the quantised activations."
    )
    min_real_range: float | None = Field(None, description="Least range that an activation's scale covers.")
    tensor_quant_overrides: dict[str, Any] | None = Field(
        None, description="Per tensor: type, symmetry, scale and the like, in onnxruntime's form."
    )
    prepare_qdq_config: bool = Field(
        True, description="Set the options that suit QDQ graphs, unless `extra_options` says otherwise."
    )


def _problems(config: _CalibratedConfig) -> list[str]:
    found = []
    if config.quant_format == "QOperator" and "16" in config.precision + config.activation_type:
        found.append("16-bit types exist in the QDQ format only: set `quant_format: QDQ`")
    if config.quant_format == "QOperator" and config.precision in ("int4", "uint4"):
        found.append(f"{config.precision} exists in the QDQ format only: set `quant_format: QDQ`")
    return found


class OnnxStaticQuantization(OnnxPass):
    """Quantise weights and activations, with activation ranges measured on calibration data."""

    tools = ("onnx", "onnx-ir", "onnxruntime")
    version = 3

    class Config(_CalibratedConfig):
        quant_mode: Literal["static"] = Field("static", description="Always `static`.")

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, _CalibratedConfig)
        return _problems(config)

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize._static import quantize_statically

        return quantize_statically(model, config, context)


class OnnxQuantization(OnnxPass):
    """Quantise weights and activations to integers, statically or dynamically as `quant_mode` says."""

    tools = ("onnx", "onnx-ir", "onnxruntime")
    version = 3

    class Config(_CalibratedConfig):
        quant_mode: Literal["static", "dynamic"] = Field(
            "static", description="Activation ranges from calibration data, or found on the fly."
        )

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, cls.Config)
        if config.quant_mode == "static":
            return _problems(config)
        return [] if config.precision in ("int8", "uint8") else ["dynamic quantisation has int8 and uint8 only"]

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_quantize import _integer, _static

        quantize = _static.quantize_statically if config.quant_mode == "static" else _integer.quantize_dynamically
        return quantize(model, config, context)
