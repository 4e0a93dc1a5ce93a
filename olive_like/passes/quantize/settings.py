"""Settings and promises that the weight quantisers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from olive_like.artifacts import Artifact, HfModel
from olive_like.passes.base import Effect, Pass, PassConfig
from olive_like.passes.fields import DataRef

Bits = Literal[2, 3, 4, 8]


def _some_or_all(value: int) -> int:
    if value == 0 or value < -1:
        raise ValueError("must be a positive number, or -1 for one scale per row")
    return value


GroupSize = Annotated[int, AfterValidator(_some_or_all)]


class LayerOverride(BaseModel):
    """Other settings for one module; what is not set stays as for the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bits: Bits | None = Field(None, description="Bits per weight.")
    group_size: GroupSize | None = Field(None, description="Weights that share a scale; -1: a whole row.")
    sym: bool | None = Field(None, description="Whether the grid is symmetric around zero.")


class WeightConfig(PassConfig):
    """What every pass that rounds weights to a grid can be told."""

    bits: Bits = Field(4, description="Bits per weight.")
    group_size: GroupSize = Field(128, description="Weights of a row that share a scale; -1: the whole row.")
    sym: bool = Field(False, description="Keep the grid symmetric around zero instead of storing zero points.")
    lm_head: bool = Field(False, description="Quantise the output head too.")
    quantize_vision: bool = Field(False, description="Quantise the vision part of a multimodal model too.")
    modules_to_not_convert: list[str] | None = Field(
        None, description="Modules to leave as they are: full names, ends or parts of names, at dots."
    )
    overrides: dict[str, LayerOverride] | None = Field(
        None, description="Module name -> settings of its own. Naming `lm_head` or the embedding includes it."
    )


class EmbeddingConfig(WeightConfig):
    """Passes that look at weights alone can do embeddings as well."""

    embeds: bool = Field(False, description="Quantise the input embeddings too.")
    moe: bool = Field(False, description="Quantise the experts of a mixture that stand in one fused tensor.")


class CalibratedConfig(WeightConfig):
    """Settings of passes that look at activations."""

    data_config: DataRef | None = Field(
        None, description="Calibration data. With none the model itself writes text, from the workflow's seed."
    )


class WeightPass(Pass):
    """A pass that replaces weights by integers and scales."""

    accepts = HfModel
    produces = HfModel
    version = 1
    tools: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    effect = Effect.SHRINKS
    seeded = False
    traits = ("device",)

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        found = []
        if getattr(config, "moe", False):
            found.append("`moe: true` is not supported: fused experts stay as they are")
        return found


class CalibratedPass(WeightPass):
    """A weight quantiser that runs calibration text through the model."""

    version = 3
    seeded = True
    data_pass = "TokenizedText"
