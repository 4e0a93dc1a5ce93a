"""Adapter weights taken out of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from olive_like.artifacts import Artifact, OnnxModel
from olive_like.passes.base import Context, Pass
from olive_like.passes.onnx_base import OnnxPassConfig


class ExtractAdapters(Pass):
    """Take adapter weights out of a graph into a file of their own, so that several can share the graph."""

    accepts = OnnxModel
    produces = OnnxModel
    tools = ("onnx", "onnx-ir", "onnxruntime")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        adapter_type: Literal["lora", "dora", "loha"] = Field("lora", description="Kind of the adapter.")
        make_inputs: bool = Field(
            True, description="Adapter weights become inputs of the graph; otherwise they stay in it as well."
        )
        dynamic_lora_r: bool = Field(True, description="The rank becomes a dynamic axis.")
        optional_inputs: bool = Field(True, description="The inputs may be left out: the graph is the base model then.")
        save_format: Literal["pt", "numpy", "safetensors", "onnx_adapter"] = Field(
            "onnx_adapter", description="Format of the weights' file (`pt`, a pickle, is refused)."
        )
        adapter_name: str = Field(
            "adapter_weights", pattern=r"^[\w.-]+$", description="Name of the weights' file, without its suffix."
        )

    @classmethod
    def problems(cls, config: Any, kinds: Sequence[type[Artifact]]) -> list[str]:
        found = []
        if config.adapter_type == "loha":
            found.append("adapter_type: loha cannot be taken out: its product of matrices is one weight in the graph")
        if config.save_format == "pt":
            found.append("save_format: a .pt file is a pickle and is not written; use onnx_adapter or safetensors")
        return found

    def run(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._extract_adapters import extract

        return extract(model, config, context)
