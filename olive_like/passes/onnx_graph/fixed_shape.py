"""Numbers in place of names for the axes of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from olive_like.artifacts import Artifact, CompositeModel, OnnxModel
from olive_like.passes.base import Context, PassConfig
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class DynamicToFixedShape(OnnxPass):
    """Fix axes or whole shapes of the inputs, and infer all other shapes anew; touches no weights."""

    tools = ("onnx", "onnx-ir")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        dim_param: list[str] | None = Field(None, description="Names of axes to fix.")
        dim_value: list[int] | None = Field(None, description="Their lengths, in the same order.")
        input_name: list[str] | None = Field(None, description="Names of inputs to fix whole.")
        input_shape: list[list[int]] | None = Field(None, description="Their shapes, in the same order.")

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, cls.Config)
        found = []
        for names, values in (("dim_param", "dim_value"), ("input_name", "input_shape")):
            left, right = getattr(config, names) or [], getattr(config, values) or []
            if len(left) != len(right):
                found.append(f"{names} has {len(left)} entries and {values} has {len(right)}: they go in pairs")
        if not config.dim_param and not config.input_name:
            found.append("nothing to fix: give dim_param and dim_value, or input_name and input_shape")
        if any(value < 1 for value in config.dim_value or []):
            found.append("dim_value has a length below 1")
        if any(value < 1 for shape in config.input_shape or [] for value in shape):
            found.append("input_shape has a length below 1")
        return found

    def run(self, model: OnnxModel | CompositeModel, config: Any, context: Context) -> Artifact:
        from olive_like.passes.onnx_graph._fixed_shape import check_names

        check_names(model, config)
        return super().run(model, config, context)

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._fixed_shape import fix

        return fix(model, config, context)
