"""AWQ."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context, PassConfig
from olive_like.passes.fields import DataRef, NotInKey, ScriptPath
from olive_like.passes.quantize.settings import Bits, CalibratedPass, GroupSize, LayerOverride


class AutoAWQQuantizer(CalibratedPass):
    """Scale the channels that the activations make important before rounding (AWQ), and clip what helps."""

    class Config(PassConfig):
        bits: Bits = Field(4, alias="w_bit", description="Bits per weight.")
        q_group_size: GroupSize = Field(
            128, alias="group_size", description="Weights of a row that share a scale; -1: the whole row."
        )
        zero_point: bool = Field(True, description="Store zero points; false: a grid symmetric around zero.")
        version: Annotated[Literal["gemm", "gemv", "marlin", "exllama"], NotInKey()] = Field(
            "gemm", description="Accepted for Olive's files; the packing is GPTQ's, which all of these kernels take."
        )
        duo_scaling: bool = Field(True, description="Let the weights' size take part in the scales.")
        clip: bool = Field(True, description="Search each group's clipping range as well.")
        n_grid: int = Field(20, ge=1, description="Points of the search for each scale.")
        lm_head: bool = Field(False, description="Quantise the output head too.")
        modules_to_not_convert: list[str] | None = Field([], description="Modules to leave as they are.")
        overrides: dict[str, LayerOverride] | None = Field(None, description="Module name -> settings of its own.")
        input_model_dtype: Annotated[Literal["fp32", "fp16", "bf16", "fp64"], NotInKey()] = Field(
            "fp16", description="Accepted for Olive's files; the dtype of the model's own folder is used."
        )
        export_compatible: Annotated[bool, NotInKey()] = Field(
            False, description="Accepted for Olive's files; the result always is."
        )
        user_script: ScriptPath | None = Field(None, description="Accepted for Olive's files; not used.")
        script_dir: ScriptPath | None = Field(None, description="Accepted for Olive's files; not used.")
        data_config: DataRef | None = Field(
            None, description="Calibration data. With none the model itself writes text, from the workflow's seed."
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._awq import run

        return run(model, config, context)
