"""From a PyTorch model to ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from olive_like.artifacts import Adapter, Artifact, HfModel, OnnxModel, PyTorchModel
from olive_like.passes.base import Context, Pass
from olive_like.passes.convert.memory import export_memory
from olive_like.passes.fields import NotInKey
from olive_like.passes.onnx_base import OnnxPassConfig


class OnnxConversion(Pass):
    """Export a PyTorch or Hugging Face model to ONNX, language models with a key-value cache in and out."""

    accepts = (HfModel, Adapter, PyTorchModel)
    produces = OnnxModel
    tools = ("onnx", "onnx-ir", "onnxruntime", "onnxscript", "torch", "transformers")
    version = 4
    seeded = False
    traits = ()

    class Config(OnnxPassConfig):
        save_as_external_data: bool | None = Field(
            None, description="Weights in a file beside the graph. Unset: from 128 MiB of weights on."
        )
        target_opset: int = Field(20, ge=9, le=25, description="Version of the ONNX operators that the graph uses.")
        use_dynamo_exporter: bool | None = Field(
            None,
            description="`true`: torch.export; `false`: TorchScript. Unset: TorchScript for text encoders, which it "
            "leaves in the form that attention fusion knows, torch.export for all else, and the other one where "
            "the first fails.",
        )
        torch_dtype: Literal["float32", "float16", "bfloat16", "fp32", "fp16", "bf16", "auto"] | None = Field(
            None,
            description="Type of the exported weights. Unset: float32, which every device computes; `auto`: the type "
            "that the model is stored in.",
        )
        dynamic: bool = Field(True, description="Leave batch, sequence and past length open; otherwise batch 1.")
        fixed_sequence_length: int = Field(
            128, ge=1, description="Tokens of an input when `dynamic` is false (an image's size is the model's own)."
        )
        optimize: bool = Field(True, description="Let the exporter fold constants and drop what has no use.")
        past_key_value_name: str = Field("past_key_values", description="Prefix of the cache's input names.")
        merge_adapter_weights: bool = Field(
            True, description="Merge a LoRA adapter into the weights; otherwise its matrices stay apart in the graph."
        )
        device: Literal["cpu", "cuda"] | None = Field(
            None, description="Where the model is traced and its reference outputs computed. Unset: the system's."
        )
        verify: Literal["off", "warn", "fail"] = Field(
            "fail",
            description="Compare with PyTorch on several shapes, with empty and filled caches, and what to do where "
            "outputs differ by more than rounding.",
        )
        verify_tokens: int = Field(
            16, ge=0, description="Language models: greedy tokens to compare with the model's own generation."
        )
        parallel_jobs: Annotated[int | None, NotInKey()] = Field(None, description="Accepted; has no effect.")
        save_metadata_for_token_generation: bool = Field(
            False, description="Accepted; the tokenizer and generation settings are always written."
        )

    @classmethod
    def problems(cls, config: Any, kinds: Sequence[type[Artifact]]) -> list[str]:
        found = []
        if config.use_dynamo_exporter is False and config.target_opset > 20:
            found.append("target_opset: TorchScript writes at most opset 20; leave use_dynamo_exporter unset")
        return found

    @classmethod
    def memory_estimate(cls, inputs: Sequence[Artifact], config: Any) -> int | None:
        return export_memory(inputs, config.torch_dtype)

    def run(self, model: HfModel | Adapter | PyTorchModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.convert._conversion import convert

        return convert(model, config, context)
