"""GPTQ under the three names that Olive has for it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from olive_like.artifacts import HfModel
from olive_like.passes.base import Context, PassConfig
from olive_like.passes.fields import DataRef, NotInKey
from olive_like.passes.quantize.settings import Bits, CalibratedConfig, CalibratedPass, GroupSize


class Gptq(CalibratedPass):
    """Round weight by weight and let those to come make up for each error, as the calibration text weighs it."""

    class Config(CalibratedConfig):
        moe: bool = Field(False, description="Quantise the experts of a mixture that stand in one fused tensor.")
        damp_percent: float = Field(0.01, gt=0, lt=1, description="Share of the mean curvature added to it.")
        desc_act: bool | None = Field(
            None,
            description="Quantise columns in the order of their weight. Unset: in that order, but with groups of "
            "neighbouring columns, so that every runtime can read the result.",
        )
        moe_fallback_threshold: float = Field(
            0.005, ge=0, description="Experts that see a smaller share of tokens are rounded to nearest."
        )
        moe_fallback_min_k_multiple: float = Field(
            2.0, ge=0, description="Experts that see fewer tokens than this times their inputs are rounded to nearest."
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._gptq import run

        return run(model, config, context)


class DynamicOverride(BaseModel):
    """One entry of `dynamic`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bits: Bits | None = None
    group_size: GroupSize | None = None
    sym: bool | None = None
    desc_act: bool | None = None


class GptqModel(CalibratedPass):
    """GPTQ with the settings and defaults of the gptqmodel library."""

    class Config(PassConfig):
        bits: Bits = Field(4, description="Bits per weight.")
        group_size: GroupSize = Field(-1, description="Weights of a row that share a scale; -1: the whole row.")
        damp_percent: float = Field(0.05, gt=0, lt=1, description="Share of the mean curvature added to it.")
        damp_auto_increment: float = Field(
            0.01, ge=0, description="What is added to the damping while it is too small."
        )
        static_groups: bool = Field(False, description="Fix all grids before the first weight is rounded.")
        true_sequential: bool = Field(True, description="Calibrate inside a block on the layers already quantised.")
        desc_act: bool = Field(True, description="Quantise columns in the order of their weight.")
        sym: bool = Field(True, description="Keep the grid symmetric around zero.")
        mse: float = Field(0.0, ge=0, description="Above 0: shrink each grid for the least error in this norm.")
        lm_head: bool = Field(False, description="Quantise the output head too.")
        device: Annotated[str, NotInKey()] = Field(
            "cpu", description="Accepted for Olive's files; the system decides where a pass runs."
        )
        dynamic: dict[str, DynamicOverride] | None = Field(
            None, description="`+:regex` -> settings for the modules that it matches; `-:regex`: leave them."
        )
        rotation: Literal["hadamard", "random"] | None = Field(
            None, description="`hadamard`: rotate the model first, as QuaRot does; `random`: by any rotation."
        )
        data_config: DataRef | None = Field(
            None, description="Calibration data. With none the model itself writes text, from the workflow's seed."
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._gptq import run_like_gptqmodel

        return run_like_gptqmodel(model, config, context)


class GptqQuantizer(CalibratedPass):
    """GPTQ with the settings and defaults of optimum's quantiser."""

    class Config(PassConfig):
        bits: Bits = Field(4, description="Bits per weight.")
        layers_block_name: str | None = Field(None, description="The list of blocks; found by itself if not given.")
        outside_layer_modules: Annotated[list[str] | None, NotInKey()] = Field(
            None, description="Accepted for Olive's files; found by itself."
        )
        inside_layer_modules: list[list[str]] | None = Field(
            None, description="Names inside a block to quantise, in this order; all linear layers if not given."
        )
        group_size: GroupSize = Field(128, description="Weights of a row that share a scale; -1: the whole row.")
        damp_percent: float = Field(0.01, gt=0, lt=1, description="Share of the mean curvature added to it.")
        static_groups: bool = Field(False, description="Fix all grids before the first weight is rounded.")
        true_sequential: bool = Field(False, description="Calibrate inside a block on the layers already quantised.")
        desc_act: bool = Field(False, description="Quantise columns in the order of their weight.")
        sym: bool = Field(False, description="Keep the grid symmetric around zero.")
        data_config: DataRef | None = Field(
            None, description="Calibration data. With none the model itself writes text, from the workflow's seed."
        )

    def run(self, model: HfModel, config: Config, context: Context) -> HfModel:
        from olive_like.passes.quantize._gptq import run_like_optimum

        return run_like_optimum(model, config, context)
