"""Adapter weights taken out of a graph."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Pass
from olive_like.passes.onnx_base import OnnxPassConfig


class ExtractAdapters(Pass):
    """Take adapter weights out of a graph into a file of their own, so that several can share the graph."""

    accepts = OnnxModel
    produces = OnnxModel
    tools = ("onnx", "onnx-ir")

    class Config(OnnxPassConfig):
        adapter_type: Literal["lora", "dora", "loha"] = Field("lora", description="Kind of the adapter.")
        make_inputs: bool = Field(True, description="Adapter weights become inputs of the graph.")
        dynamic_lora_r: bool = Field(True, description="The rank becomes a dynamic axis.")
        optional_inputs: bool = Field(True, description="The inputs have empty defaults.")
        save_format: Literal["pt", "numpy", "safetensors", "onnx_adapter"] = Field(
            "onnx_adapter", description="Format of the weights' file."
        )
