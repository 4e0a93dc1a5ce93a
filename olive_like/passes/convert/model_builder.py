"""Language models in the form of onnxruntime-genai."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from olive_like.artifacts import Adapter, Artifact, HfModel, OnnxModel
from olive_like.passes.base import Context, Pass, PassConfig
from olive_like.passes.convert.memory import export_memory
from olive_like.passes.fields import FilesAmongMark, Options


class ModelBuilder(Pass):
    """Build a language model's graph with onnxruntime-genai's builder, quantised on the way if wanted."""

    accepts = (HfModel, Adapter, OnnxModel)
    produces = OnnxModel
    tools = ("onnx-ir", "onnxruntime", "onnxruntime-genai", "torch", "transformers")
    seeded = False
    traits = ("device",)
    version = 3

    class Config(PassConfig):
        precision: Literal["fp32", "fp16", "bf16", "int8", "int4"] = Field(description="Type of the weights.")
        execution_provider: Literal["cpu", "cuda", "dml", "webgpu", "NvTensorRtRtx"] | None = Field(
            None, description="What the graph is built for. Unset: the system's device."
        )
        metadata_only: bool = Field(
            False, description="Take an ONNX model as it is and only write genai_config.json beside it."
        )
        search: dict[str, Any] | None = Field(
            None, description="Generation settings for genai_config.json: max_length, temperature, top_p …"
        )
        int4_block_size: Literal[16, 32, 64, 128, 256] | None = Field(None, description="Weights that share a scale.")
        int4_accuracy_level: Literal[0, 1, 2, 3, 4] | None = Field(
            None, description="Least precision of activations: 1 fp32, 2 fp16, 3 bf16, 4 int8."
        )
        int4_is_symmetric: bool | None = Field(None, description="Quantise without zero points.")
        int4_op_types_to_quantize: list[str] | None = Field(None, description="Op types to quantise: MatMul, Gather.")
        int4_nodes_to_exclude: list[str] | None = Field(None, description="Names of nodes to leave as they are.")
        int4_algo_config: (
            Literal["default", "rtn", "rtn_last", "k_quant", "k_quant_last", "k_quant_mixed", "k_quant_linear"] | None
        ) = Field(None, description="How weights are rounded, and which layers get 8 bits.")
        use_qdq: bool | None = Field(None, description="Quantise/dequantise pairs in place of MatMulNBits.")
        use_8bits_moe: bool | None = Field(None, description="8 bits in place of 4 for experts.")
        use_webgpu_fp32: bool | None = Field(None, description="fp32 inputs and outputs on WebGPU.")
        use_cuda_bf16: bool | None = Field(None, description="bf16 inputs and outputs on CUDA.")
        include_hidden_states: bool | None = Field(None, description="Hidden states as one more output.")
        exclude_embeds: bool | None = Field(None, description="Leave the embedding out: inputs_embeds go in.")
        exclude_lm_head: bool | None = Field(None, description="Leave the head out: hidden states come out.")
        enable_cuda_graph: bool | None = Field(None, description="Allow CUDA graph capture.")
        extra_options: Annotated[Options | None, FilesAmongMark()] = Field(
            None, description="More options, handed to the builder; files among them are found as other paths are."
        )
        verify: Literal["off", "warn", "fail"] = Field(
            "warn",
            description="Compare logits and greedy tokens with the model: judged for fp32, fp16 and bf16, reported for "
            "quantised weights.",
        )
        verify_tokens: int = Field(16, ge=0, description="Greedy tokens to compare.")

    @classmethod
    def problems(cls, config: Any, kinds: Sequence[type[Artifact]]) -> list[str]:
        found = []
        onnx_given = any(issubclass(kind, OnnxModel) for kind in kinds)
        if onnx_given and not config.metadata_only:
            found.append("an ONNX model goes in only with `metadata_only: true`; otherwise give the Hugging Face model")
        if config.metadata_only and kinds and not onnx_given:
            found.append("`metadata_only` needs an ONNX model, from OnnxConversion say")
        if config.exclude_lm_head and config.include_hidden_states:
            found.append("exclude_lm_head and include_hidden_states exclude each other")
        if config.precision == "int8" and config.use_qdq:
            found.append("use_qdq: not with int8")
        return found

    @classmethod
    def memory_estimate(cls, inputs: Sequence[Artifact], config: Any) -> int | None:
        return export_memory(inputs, "float32")  # the builder quantises what it has first built in full

    def run(self, model: HfModel | Adapter | OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.convert._genai import require_genai

        require_genai()
        from olive_like.passes.convert._model_builder import build

        return build(model, config, context)
