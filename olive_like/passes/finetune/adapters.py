"""Passes that train an adapter on a frozen model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from olive_like.artifacts import Adapter as AdapterArtifact
from olive_like.artifacts import Artifact, HfModel
from olive_like.passes.base import Context, Pass, PassConfig
from olive_like.passes.finetune.settings import TrainingSettings, setting_problems


def _names(value: Any) -> Any:
    """`a,b` as Olive's command line writes lists; `all-linear` stays a word."""
    if isinstance(value, str) and value != "all-linear":
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Layers = Annotated[list[str] | None, BeforeValidator(_names)]
Names = Annotated[list[str] | Literal["all-linear"] | None, BeforeValidator(_names)]


class AdapterSettings(TrainingSettings):
    """What all low-rank adapters share."""

    r: int = Field(64, ge=1, validation_alias=AliasChoices("r", "lora_r"), description="Rank.")
    alpha: float = Field(
        16, gt=0, validation_alias=AliasChoices("alpha", "lora_alpha"), description="Scale: alpha / r is applied."
    )
    lora_dropout: float = Field(
        0.05, ge=0, lt=1, validation_alias=AliasChoices("lora_dropout", "dropout"), description="Dropout before it."
    )
    target_modules: Names = Field(None, description="Layers that get one; default: the usual of the architecture.")
    exclude_modules: Names = Field(None, description="Layers that get none.")
    modules_to_save: Names = Field(None, description="Layers that are trained whole, a new head included.")
    layers_to_transform: list[int] | int | None = Field(None, description="Numbers of the blocks that get one.")
    layers_pattern: str | list[str] | None = Field(None, description="Name of the list of blocks.")
    rank_pattern: dict[str, int] = Field({}, description="Other ranks for some layers.")
    alpha_pattern: dict[str, float] = Field({}, description="Other scales for some layers.")


class _Trains(Pass):
    """Base of the passes that train."""

    accepts: ClassVar[type[Artifact] | tuple[type[Artifact], ...]] = (HfModel, AdapterArtifact)
    produces: ClassVar[type[Artifact] | None] = AdapterArtifact
    tools: ClassVar[tuple[str, ...]] = ("torch", "transformers", "peft")
    data_pass = "TokenizedText"
    distributed = True
    traits = ("device", "world_size", "training")
    version = 3
    method: ClassVar[str]

    Config: ClassVar[type[PassConfig]] = TrainingSettings

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, TrainingSettings)
        return setting_problems(config)

    @classmethod
    def checkpoints_stand_on(cls, config: PassConfig, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """How many examples make a step counts, not how many ranks take how many of them at a time."""
        assert isinstance(config, TrainingSettings)
        if config.loss or not config.resume:
            return None  # the user's loss is asked once for every batch: of other batches it is another
        settings, system = dict(document["settings"]), dict(document["system"])
        settings.pop("per_device_eval_batch_size")  # it may move the last digits of a loss, and no weight
        examples = (
            int(system.pop("world_size") or 1)
            * int(settings.pop("per_device_train_batch_size"))
            * int(settings.pop("gradient_accumulation_steps"))
        )
        return {**document, "settings": settings, "system": system, "examples_per_step": examples}

    @classmethod
    def misfit(cls, config: PassConfig, launch: Mapping[str, Any]) -> tuple[str, str] | None:
        from olive_like.passes.finetune.misfits import misfit

        return misfit(cls.method, config, launch.get("deepspeed"), launch.get("fsdp"))

    @classmethod
    def memory_estimate(cls, inputs: Sequence[Artifact], config: PassConfig) -> int | None:
        from olive_like.passes.finetune.memory import estimate

        assert isinstance(config, TrainingSettings)
        return estimate(cls.method, inputs[0], config)

    def run(self, model: HfModel | AdapterArtifact, config: Any, context: Context) -> Artifact:
        from olive_like.passes.finetune import _run

        return _run.train(self.method, model, config, context)


class LoRA(_Trains):
    """Train a low-rank adapter (LoRA)."""

    method = "lora"

    class Config(AdapterSettings):
        use_rslora: bool = Field(False, description="Scale by alpha / sqrt(r): better at high ranks.")
        use_dora: bool = Field(False, description="Learn magnitude and direction apart, as DoRA does.")
        init_lora_weights: Literal["default", "gaussian", "pissa", "olora", "orthogonal"] = Field(
            "default", description="How the adapter starts."
        )
        bias: Literal["none", "all", "lora_only"] = Field("none", description="Which biases are trained too.")


class DoRA(_Trains):
    """Train a low-rank adapter whose magnitude and direction are learnt apart (DoRA)."""

    method = "dora"

    class Config(AdapterSettings):
        use_rslora: bool = Field(False, description="Scale by alpha / sqrt(r): better at high ranks.")


class RsLoRA(_Trains):
    """Train a low-rank adapter scaled by alpha / sqrt(r) (rsLoRA)."""

    method = "rslora"

    class Config(AdapterSettings):
        pass


class PiSSA(_Trains):
    """Train a low-rank adapter that starts from the main singular vectors of the weights (PiSSA)."""

    method = "pissa"

    class Config(AdapterSettings):
        niter: int | None = Field(
            None, ge=1, description="Iterations of the fast decomposition; default: the exact one."
        )


class LoHa(_Trains):
    """Train an adapter of Hadamard products of low-rank matrices (LoHa)."""

    method = "loha"

    class Config(AdapterSettings):
        rank_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of ranks.")
        module_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of whole layers' adapters.")
        use_effective_conv2d: bool = Field(True, description="Decompose convolutions larger than 1 x 1 well.")
        init_weights: bool = Field(True, description="Start with no effect.")


class LoKr(_Trains):
    """Train an adapter of Kronecker products of low-rank matrices (LoKr)."""

    method = "lokr"

    class Config(AdapterSettings):
        decompose_both: bool = Field(False, description="Decompose the left matrix too.")
        decompose_factor: int = Field(-1, description="Size of the left matrix; -1: near the square root.")
        rank_dropout_scale: bool = Field(False, description="Scale up what rank dropout leaves.")
        rank_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of ranks.")
        module_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of whole layers' adapters.")
        use_effective_conv2d: bool = Field(True, description="Decompose convolutions larger than 1 x 1 well.")
        init_weights: bool = Field(True, description="Start with no effect.")


class IA3(_Trains):
    """Train one factor per key, value and feed-forward channel (IA3): the smallest adapter."""

    method = "ia3"

    class Config(TrainingSettings):
        target_modules: Names = Field(None, description="Layers that get factors; default: by the architecture.")
        feedforward_modules: Names = Field(None, description="Those of them whose input is scaled.")
        modules_to_save: Names = Field(None, description="Layers that are trained whole.")


class _InFourBits(AdapterSettings):
    double_quant: bool = Field(False, description="Quantise the scales too.")
    quant_type: Literal["nf4", "fp4"] = Field("nf4", description="Type of the 4-bit weights.")
    compute_dtype: str | None = Field(None, description="Type to compute in; default: as torch_dtype.")
    skip_modules: Layers = Field(None, description="Layers that are not held in 4 bits.")
    save_quant_config: bool = Field(True, description="Write down in the artifact how the base was quantised.")
    use_rslora: bool = Field(False, description="Scale by alpha / sqrt(r).")


class QLoRA(_Trains):
    """Train a low-rank adapter on a base held in 4 bits (QLoRA)."""

    method = "qlora"
    tools = ("torch", "transformers", "peft", "bitsandbytes")

    class Config(_InFourBits):
        use_dora: bool = Field(False, description="Learn magnitude and direction apart.")


class LoftQ(_Trains):
    """Train a low-rank adapter on a base held in 4 bits, starting from what that lost (LoftQ)."""

    method = "loftq"
    tools = ("torch", "transformers", "peft", "bitsandbytes")

    class Config(_InFourBits):
        loftq_iter: int = Field(1, ge=1, description="Turns of decomposing what is lost and quantising the rest.")


class Adapter(_Trains):
    """Train small networks behind the frozen feed-forward layers (bottleneck adapters)."""

    method = "bottleneck"

    class Config(TrainingSettings):
        size: int = Field(64, ge=1, description="Width of the small networks.")
        activation: Literal["relu", "gelu", "silu"] = Field("gelu", description="Function between their two layers.")
        target_modules: Names = Field(
            None, description="Layers that get one behind them; default: by the architecture."
        )
        modules_to_save: Names = Field(None, description="Layers that are trained whole.")


class DPO(_Trains):
    """Train an adapter on preference pairs (direct preference optimisation)."""

    method = "dpo"
    version = 4

    class Config(LoRA.Config):
        learning_rate: float = Field(5e-6, gt=0, description="Highest learning rate.")
        beta: float = Field(0.1, gt=0, description="How strongly to stay near the model at the start.")
        loss_type: Literal["sigmoid", "hinge", "ipo"] = Field("sigmoid", description="Loss of a pair.")
        label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Part of the pairs that may be the wrong way.")

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, DPO.Config)
        found = super().problems(config, kinds)
        if config.loss:
            found.append("`loss` has no place in DPO, which has losses of its own: see `loss_type`")
        elif config.label_smoothing_factor:
            found.append("`label_smoothing_factor` smooths classes, which pairs do not have: see `label_smoothing`")
        return found
