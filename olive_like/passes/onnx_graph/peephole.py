"""Many small rewrites that make a graph shorter and change no result."""

from __future__ import annotations

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OnnxPeepholeOptimizer(OnnxPass):
    """Fold constants, drop dead code, merge duplicates, shorten chains of Cast and Reshape."""

    tools = ("onnx", "onnx-ir", "onnxscript")
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        onnxscript_optimize: bool = Field(True, description="Fold constants and rewrite with onnxscript's optimizer.")
        onnxoptimizer_optimize: bool = Field(
            True, description="Drop identities and dead code, merge equal nodes and weights (onnx-ir's passes)."
        )
        fuse_reshape_operations: bool = Field(True, description="Make one Reshape of several in a row.")
        fix_com_microsoft_opset: bool = Field(
            False, description="Declare version 1 of the domain com.microsoft where its operators are used."
        )
        cast_chain_elimination: bool = Field(False, description="Make one Cast of several in a row.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._peephole import optimize

        return optimize(model, config, context)
