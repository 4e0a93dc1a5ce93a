"""What Olive's files call OptimumConversion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from olive_like.artifacts import Adapter, Artifact, HfModel, OnnxModel
from olive_like.passes.base import Context, Pass, PassConfig
from olive_like.passes.convert.onnx_conversion import OnnxConversion


class OptimumConversion(Pass):
    """Export a Hugging Face model to ONNX; the settings of optimum's exporter, the work of OnnxConversion."""

    accepts = (HfModel, Adapter)
    produces = OnnxModel
    tools = OnnxConversion.tools
    version = OnnxConversion.version
    seeded = False
    traits = ()

    class Config(PassConfig):
        target_opset: int = Field(14, ge=9, le=25, description="Version of the ONNX operators that the graph uses.")
        components: list[str] | None = Field(
            None, description="The only parts to keep of a model of several: encoder, decoder."
        )
        fp16: bool = Field(False, description="Export in float16.")
        device: Literal["cpu", "cuda"] = Field("cpu", description="Where the model is traced.")
        extra_args: dict[str, Any] | None = Field(
            None, description="Arguments of optimum's exporter; none has a counterpart, so none is accepted."
        )

    @classmethod
    def problems(cls, config: Any, kinds: Sequence[type[Artifact]]) -> list[str]:
        return [
            f"extra_args.{name}: OnnxConversion has no such setting; use that pass and its own settings"
            for name in config.extra_args or {}
        ]

    def run(self, model: HfModel | Adapter, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.convert._conversion import convert

        settings = OnnxConversion.Config(
            target_opset=config.target_opset,
            torch_dtype="float16" if config.fp16 else None,
            device=config.device,
        )
        return convert(model, settings, context, config.components)
