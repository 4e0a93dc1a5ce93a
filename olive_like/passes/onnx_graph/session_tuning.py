"""The session settings with which a model runs fastest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from olive_like.artifacts import Artifact, OnnxModel
from olive_like.passes.base import Context
from olive_like.passes.fields import DataRef, NotInKey
from olive_like.passes.onnx_base import OnnxPassConfig
from olive_like.passes.onnx_pass import OnnxPass


class OrtSessionParamsTuning(OnnxPass):
    """Measure onnxruntime's session settings against each other and record the fastest; the graph stays."""

    tools = ("onnx", "onnx-ir", "onnxruntime")
    measures = True

    class Config(OnnxPassConfig):
        data_config: DataRef | None = Field(None, description="Inputs to measure with; by default generated ones.")
        device: Annotated[str, NotInKey()] = Field(
            "cpu", description="Accepted for Olive's files; the system decides where a pass runs."
        )
        cpu_cores: int | None = Field(None, ge=1, description="Most threads to try; by default all cores.")
        io_bind: bool | list[bool] = Field(False, description="Bind inputs and outputs to the device, or try both.")
        enable_cuda_graph: bool = Field(False, description="Use CUDA graphs.")
        providers_list: str | list[str] | None = Field(
            None, description="Execution providers, tried one after the other; by default that of the system's device."
        )
        provider_options_list: dict[str, Any] | list[dict[str, Any]] = Field({}, description="Options per provider.")
        execution_mode_list: int | list[int] | None = Field(
            None, description="Execution modes to try: 0 sequential, 1 parallel."
        )
        opt_level_list: int | list[int] | None = Field(
            None, description="Graph optimisation levels to try: 0, 1, 2 or 99."
        )
        trt_fp16_enable: bool = Field(False, description="Let TensorRT use float16.")
        intra_thread_num_list: int | list[int | None] | None = Field(
            None, description="Numbers of threads within an operator to try."
        )
        inter_thread_num_list: int | list[int | None] | None = Field(
            None, description="Numbers of threads across operators to try (parallel mode)."
        )
        extra_session_config: dict[str, Any] | None = Field(None, description="More session settings, for all trials.")
        force_evaluate_other_eps: bool = Field(False, description="Go on to other providers when one fails.")
        enable_profiling: bool = Field(False, description="Keep onnxruntime's profile of the fastest session.")
        batch_size: int = Field(1, ge=1, description="Batch of generated inputs.")
        sequence_length: int = Field(128, ge=1, description="Sequence length of generated inputs.")
        seconds_per_trial: float = Field(0.5, gt=0, description="How long each combination is measured.")

    @classmethod
    def problems(cls, config: Any, kinds: Sequence[type[Artifact]]) -> list[str]:
        names, options = config.providers_list, config.provider_options_list
        count = len(names) if isinstance(names, list) and names else 1
        if not isinstance(options, list) or len(options) in (0, count):
            return []
        return [f"`provider_options_list` has {len(options)} entries for {count} of `providers_list`: one for each"]

    def transform(self, model: OnnxModel, config: Config, context: Context) -> OnnxModel:
        from olive_like.passes.onnx_graph._session_tuning import tune

        return tune(model, config, context)
