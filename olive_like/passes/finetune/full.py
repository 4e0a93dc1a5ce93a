"""All weights are trained."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from olive_like.artifacts import Artifact, HfModel
from olive_like.passes.base import PassConfig
from olive_like.passes.finetune.adapters import _Trains
from olive_like.passes.finetune.settings import TrainingSettings


class FullFinetune(_Trains):
    """Train all weights of a model."""

    accepts = HfModel
    produces = HfModel
    tools = ("torch", "transformers")
    method = "full"

    class Config(TrainingSettings):
        learning_rate: float = Field(2e-5, gt=0, description="Highest learning rate.")
        save_dtype: str = Field("auto", description="Type of the saved weights; auto: the model's.")

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, TrainingSettings)
        wrong = ["`init_adapter` is for adapters; FullFinetune trains the model itself"] if config.init_adapter else []
        return super().problems(config, kinds) + wrong
