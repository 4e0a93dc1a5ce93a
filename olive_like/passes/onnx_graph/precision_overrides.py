"""Per-tensor precision for static quantisation."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Pass
from olive_like.passes.onnx_base import OnnxPassConfig


class MixedPrecisionOverrides(Pass):
    """Prepare per-tensor precision overrides for a static quantisation that follows."""

    accepts = OnnxModel
    produces = OnnxModel
    tools = ("onnx", "onnx-ir")

    class Config(OnnxPassConfig):
        overrides_config: str | dict[str, Any] = Field(description="Overrides per tensor, or a file with them.")
        element_wise_binary_ops: list[str] | None = Field(None, description="Element-wise ops with two inputs.")
