"""onnxruntime's fusions of transformer subgraphs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from olive_like.artifacts import OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.fields import NotInKey
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OrtTransformersOptimization(OnnxPass):
    """Fuse attention, normalisation and activation subgraphs into onnxruntime's own operators."""

    tools = ("onnx", "onnx-ir", "onnxruntime", "onnxscript")
    version = 3
    seeded = False

    class Config(OnnxPassConfig):
        model_type: str | None = Field(
            None, description="Whose subgraphs to look for (bert, gpt2, vit …); by default found from the model."
        )
        num_heads: int = Field(0, ge=0, description="Attention heads; 0: found in the graph.")
        num_key_value_heads: Annotated[int, NotInKey()] = Field(
            0, ge=0, description="Accepted for Olive's files; heads of keys and values are found in the graph."
        )
        hidden_size: int = Field(0, ge=0, description="Width of the hidden state; 0: found in the graph.")
        optimization_options: dict[str, Any] | None = Field(
            None, description="Fusions by name: `enable_gelu: true`, `enable_attention: false`, …"
        )
        opt_level: int | None = Field(
            None, description="Level of onnxruntime's own optimisation before the fusions: 0, 1, 2 or 99."
        )
        use_gpu: bool = Field(False, description="Fuse for a GPU.")
        only_onnxruntime: bool = Field(False, description="Only onnxruntime's own optimisation, no fusions.")
        float16: bool = Field(False, description="Turn the model to half precision afterwards.")
        keep_io_types: bool = Field(True, description="Inputs and outputs stay float32 with `float16`.")
        force_fp32_ops: list[str] | None = Field(None, description="Op types that stay float32.")
        force_fp32_nodes: list[str] | None = Field(None, description="Nodes that stay float32.")
        force_fp16_inputs: dict[str, list[int]] | None = Field(
            None, description="Per op type, numbers of the inputs that become float16 although the op stays float32."
        )
        use_gqa: bool | None = Field(
            None,
            description="Attention of decoders with a cache becomes GroupQueryAttention. Unset: on CPUs, where it can; "
            "true: say so where it cannot.",
        )
        input_int32: bool = Field(False, description="Token ids and masks become int32.")

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._transformers_fusion import fuse

        return fuse(model, config, context)
