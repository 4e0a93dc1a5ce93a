"""A model measured against the one that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from olive_like.artifacts import Artifact, OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.fields import LocalPath, NotInKey
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass

_UNAVAILABLE = ("llama_cpp", "speech_audio_path", "generate_image_path")


class OnnxDiscrepancyCheck(OnnxPass):
    """Compare an ONNX model's outputs with its PyTorch original's, and fail above the given bounds."""

    tools = ("onnx", "onnx-ir", "onnxruntime", "torch", "transformers")

    class Config(OnnxPassConfig):
        reference_model_path: LocalPath = Field(description="Folder of the Hugging Face model to compare with.")
        report_output_dir: Annotated[str | None, NotInKey()] = Field(
            None, description="Accepted for old files: the report lies in the output, as `discrepancy.json`."
        )
        test_metrics: Annotated[list[str] | None, NotInKey()] = Field(
            None, description="Accepted for old files: all measures that apply are taken."
        )
        max_mae: float | None = Field(None, ge=0, description="Most mean absolute error of the outputs.")
        max_elements_above_0_1: int | None = Field(None, ge=0, description="Most elements that differ by over 0.1.")
        max_elements_above_0_01: int | None = Field(None, ge=0, description="Most elements that differ by over 0.01.")
        genai_model_path: Annotated[LocalPath | None, NotInKey()] = Field(
            None, description="Accepted for old files: the model itself writes the text that is compared."
        )
        warmup_iterations: int = Field(3, ge=0, description="Runs before timing.")
        timing_iterations: int = Field(5, ge=0, description="Runs that are timed.")
        generate_prompt: str = Field("The capital of France is", description="Prompt to continue with both.")
        speech_audio_path: LocalPath | None = Field(None, description="Audio file for speech models; not available.")
        generate_image_path: LocalPath | None = Field(None, description="Image for models that see; not available.")
        generate_max_new_tokens: int = Field(32, ge=1, description="Tokens to generate.")
        first_n_tokens_timed: Annotated[int, NotInKey()] = Field(
            5, ge=1, description="Accepted for old files: no token's time is taken apart."
        )
        min_longest_common_tokens: int | None = Field(
            None, ge=0, description="Fewest tokens that both must generate alike from the start."
        )
        llama_cpp: bool = Field(False, description="Compare with llama.cpp as well; not available.")
        llama_cpp_env_path: Annotated[LocalPath | None, NotInKey()] = Field(
            None, description="Accepted for old files: llama.cpp is not asked."
        )

    @classmethod
    def alone(cls, config: Any) -> bool:
        return bool(config.timing_iterations)

    @classmethod
    def problems(cls, config: Any, kinds: Sequence[type[Artifact]]) -> list[str]:
        return [
            f"{setting} is not available: outputs and generated text are compared; leave it out"
            for setting in _UNAVAILABLE
            if getattr(config, setting)
        ]

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._discrepancy import check

        return check(model, config, context)
