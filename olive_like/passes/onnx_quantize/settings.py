"""Settings that several quantising passes share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from olive_like.marks import NotInKey
from olive_like.passes.onnx_base import OnnxPassConfig

AccuracyLevel = Literal[0, 1, 2, 3, 4]
BlockSize = Literal[16, 32, 64, 128, 256]

NODES_TO_EXCLUDE = "Names of nodes to leave as they are; each must exist. `*` and `?` stand for other characters."
NODES_TO_INCLUDE = "Names of the only nodes to quantise; each must exist. `*` and `?` stand for other characters."


class QuantizingConfig(OnnxPassConfig):
    """What every quantising pass can be told."""

    measure_speed: Annotated[bool | None, NotInKey()] = Field(
        None,
        description="Let a language model write a few tokens before and after, for some seconds, and tell the tokens "
        "per second. Unset: up to 700 MiB, because both models are in memory for it. Only a pass that runs measures: a "
        "result from the cache does not.",
    )


class IntegerConfig(QuantizingConfig):
    """What static and dynamic 8-bit quantisation have in common."""

    op_types_to_quantize: list[str] | None = Field(
        None, description="The only op types to quantise; by default all that onnxruntime has integer kernels for."
    )
    op_types_to_exclude: list[str] | None = Field(None, description="Op types to leave as they are.")
    nodes_to_quantize: list[str] | None = Field(None, description=NODES_TO_INCLUDE)
    nodes_to_exclude: list[str] | None = Field(None, description=NODES_TO_EXCLUDE)
    per_channel: bool = Field(True, description="One scale per output channel instead of one per tensor.")
    reduce_range: bool = Field(
        False, description="Seven bits for weights: needed for right results on x86 CPUs without VNNI."
    )
    quant_preprocess: bool = Field(True, description="Infer shapes and fold constants before quantising.")
    activation_symmetric: bool = Field(False, description="Activations get no zero point.")
    weight_symmetric: bool | None = Field(
        None, description="Weights get no zero point; by default so for signed types only."
    )
    extra_options: dict[str, Any] | None = Field(None, description="More options, handed to onnxruntime as they are.")


class WeightOnlyConfig(QuantizingConfig):
    """What the block-wise weight-only passes have in common."""

    accuracy_level: AccuracyLevel = Field(
        4,
        description="Least precision in which the runtime may compute: 1 fp32, 2 fp16, 3 bf16, 4 int8 (fastest on "
        "CPUs), 0 its own choice.",
    )
    nodes_to_exclude: list[str] | None = Field(None, description=NODES_TO_EXCLUDE)
