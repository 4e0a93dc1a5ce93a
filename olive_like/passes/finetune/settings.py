"""Settings that all training passes share, flat or under `training_args`, with transformers' names."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from olive_like.data.config import DataConfig
from olive_like.marks import LocalPath, NotInKey, ScriptPath
from olive_like.passes.base import PassConfig
from olive_like.passes.fields import DataRef
from olive_like.passes.tasks import TASKS

Scheduler = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "warmup_stable_decay",
]

TRACKERS = ("tensorboard", "wandb", "mlflow")

# Optimizers for which transformers does not look at `optim_args`, and what it gives them instead.
_ADAM, _LION = (
    ("adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay"),
    ("adam_beta1", "adam_beta2", "weight_decay"),
)
_ARGUMENTS = {
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "adamw_torch_xla", "adamw_torch_npu_fused"), _ADAM),
    **dict.fromkeys(("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"), _ADAM),
    **dict.fromkeys(("lion_32bit", "lion_8bit", "paged_lion_32bit", "paged_lion_8bit"), _LION),
    "adafactor": ("learning_rate", "weight_decay"),
    **dict.fromkeys(("lomo", "adalomo"), ("learning_rate",)),
}


class EarlyStopping(BaseModel):
    """When to stop before the last step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patience: int = Field(3, ge=1, description="Evaluations in a row without a better loss after which to stop.")
    min_delta: float = Field(0.0, ge=0, description="What counts as better.")


class UserLoss(BaseModel):
    """A loss of the user's own, written `my_loss.py:MyLoss`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    script: ScriptPath = Field(description="Python file.")
    name: str = Field(description="A function, or a class that is made with `params` and then called.")
    params: dict[str, Any] = Field({}, description="Arguments of the class.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            script, _, name = value.rpartition(":")
            if not script or not name.isidentifier():
                raise ValueError("write `my_loss.py:MyLoss`: a Python file and what in it to call")
            return {"script": script, "name": name}
        return value


class TrainingSettings(PassConfig):
    """How to train."""

    train_data_config: DataRef | None = Field(None, description="What to train on.")
    eval_data_config: DataRef | None = Field(
        None, description="What to evaluate on; default: what the training data hold out."
    )
    task: str | None = Field(
        None,
        validation_alias=AliasChoices("task", "task_name"),
        description="text-generation, text-classification, token-classification, text2text-generation or "
        "question-answering; default: by the model and the data.",
    )

    # how much
    max_steps: int = Field(-1, ge=-1, description="Steps to train; -1: as many as `num_train_epochs` takes.")
    num_train_epochs: float = Field(3.0, gt=0, description="Times to go through the data.")
    per_device_train_batch_size: int = Field(
        8,
        ge=1,
        validation_alias=AliasChoices("per_device_train_batch_size", "train_batch_size", "batch_size"),
        description="Examples per step and device.",
    )
    per_device_eval_batch_size: int = Field(
        8,
        ge=1,
        validation_alias=AliasChoices("per_device_eval_batch_size", "eval_batch_size"),
        description="Examples per evaluation batch and device.",
    )
    gradient_accumulation_steps: int = Field(1, ge=1, description="Batches whose gradients make one step.")
    auto_batch: bool = Field(False, description="Out of memory: halve the batch, double the accumulation, go on.")

    # how fast and how far
    learning_rate: float = Field(2e-4, gt=0, description="Highest learning rate.")
    lr_scheduler_type: Scheduler = Field("linear", description="How the learning rate goes after the warm-up.")
    lr_scheduler_kwargs: dict[str, Any] = Field({}, description="Further arguments of the schedule.")
    warmup_steps: float = Field(0, ge=0, description="Steps of warm-up; below 1: a part of all steps.")
    warmup_ratio: float = Field(0.0, ge=0, lt=1, description="Part of all steps that is warm-up.")
    weight_decay: float = Field(0.0, ge=0, description="Pull of the weights towards zero (AdamW).")
    optim: str = Field("adamw_torch", description="Optimizer, by transformers' name.")
    optim_args: str | None = Field(None, description="Further arguments of the optimizer: `a=1,b=2`.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="First moment's decay.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="Second moment's decay.")
    adam_epsilon: float = Field(1e-8, gt=0, description="Added to the denominator.")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradients are scaled down to this norm; 0: never.")
    label_smoothing_factor: float = Field(0.0, ge=0, lt=1, description="Part of each label spread over all classes.")
    neftune_noise_alpha: float | None = Field(None, gt=0, description="Noise on embeddings while training.")

    # in what numbers
    torch_dtype: str = Field(
        "auto",
        validation_alias=AliasChoices("torch_dtype", "dtype"),
        description="float32, bfloat16, float16, or auto: what the device is fast at.",
    )
    bf16: bool | None = Field(None, description="bfloat16, as transformers writes it.")
    fp16: bool | None = Field(None, description="float16, as transformers writes it; GPUs only.")
    tf32: bool | None = Field(
        None, validation_alias=AliasChoices("tf32", "allow_tf32"), description="TensorFloat-32 on GPUs that have it."
    )
    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        "auto", description="Attention kernel."
    )
    gradient_checkpointing: bool = Field(False, description="Less memory, about a third slower.")
    gradient_checkpointing_kwargs: dict[str, Any] = Field({}, description="Further arguments of it.")
    torch_compile: bool = Field(False, description="Compile the model first.")

    # what to watch
    seed: int | None = Field(None, description="Seed of weights, order and dropout; default: the workflow's.")
    data_seed: int | None = Field(None, description="Seed of the order alone.")
    group_by_length: bool = Field(True, description="Batches of like lengths, where batches are padded.")
    eval_strategy: Literal["no", "steps", "epoch"] | None = Field(
        None,
        validation_alias=AliasChoices("eval_strategy", "evaluation_strategy"),
        description="When to evaluate; default: by steps where there are evaluation data.",
    )
    eval_steps: float | None = Field(None, gt=0, description="Steps between evaluations; default: ten in all.")
    early_stopping: EarlyStopping | None = Field(None, description="Stop when the evaluation loss stops falling.")
    load_best_model_at_end: bool = Field(False, description="Keep the best evaluation's weights, not the last.")
    loss: UserLoss | None = Field(None, description="Your own loss: `my_loss.py:MyLoss`.")
    init_adapter: LocalPath | None = Field(None, description="Adapter to go on from.")
    logging_steps: Annotated[float, NotInKey()] = Field(10, gt=0, description="Steps between log lines.")
    logging_first_step: Annotated[bool, NotInKey()] = Field(False, description="Log the first step too.")
    save_steps: Annotated[float | None, NotInKey()] = Field(
        None, gt=0, description="Steps between checkpoints that an interrupted run goes on from; default: ten in all."
    )
    save_total_limit: Annotated[int | None, NotInKey()] = Field(2, ge=1, description="Checkpoints to keep.")
    resume: Annotated[bool, NotInKey()] = Field(
        True,
        validation_alias=AliasChoices("resume", "resume_from_checkpoint"),
        description="Go on from the last checkpoint of an interrupted run.",
    )
    report_to: Annotated[str | list[str], NotInKey()] = Field(
        "none", description="tensorboard, wandb, mlflow: also log there."
    )
    logging_dir: Annotated[str | None, NotInKey()] = Field(
        None, description="Folder of TensorBoard's files; default: one in `tensorboard/`, where the run was started."
    )
    run_name: Annotated[str | None, NotInKey()] = Field(None, description="Name of the run for trackers.")
    dataloader_num_workers: Annotated[int, NotInKey()] = Field(0, ge=0, description="Processes that make batches.")
    output_dir: Annotated[str | None, NotInKey()] = Field(None, description="Not used: the store is where results go.")
    ddp_timeout: Annotated[int, NotInKey()] = Field(1800, ge=1, description="Seconds that ranks wait for another.")
    ddp_find_unused_parameters: Annotated[bool | None, NotInKey()] = Field(
        None, description="Set it with several GPUs."
    )
    deepspeed: dict[str, Any] | LocalPath | None = Field(None, description="DeepSpeed settings, or a file with them.")
    device_map: Annotated[Any, NotInKey()] = Field(None, description="Not used: the system says where to train.")
    ephemeral_gpu_offload: Annotated[bool, NotInKey()] = Field(False, description="Not used.")

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, values: Any) -> Any:
        """`training_args: {…}` is the same as its entries one level up; two different values are an error."""
        if not isinstance(values, dict) or "training_args" not in values:
            return values
        flat = {key: value for key, value in values.items() if key != "training_args"}
        nested = values["training_args"]
        if nested is None:
            return flat
        if not isinstance(nested, dict):
            raise ValueError("training_args is a mapping of settings")
        for key, value in nested.items():
            if key in flat and flat[key] != value:
                raise ValueError(f"{key} is {flat[key]!r} here and {value!r} in training_args; leave one out")
            flat[key] = value
        return flat

    def train_seed(self, default: int) -> int:
        return self.seed if self.seed is not None else default


def referenced(config: TrainingSettings) -> list[DataConfig]:
    """The data sets that the settings name in place."""
    return [d for d in (config.train_data_config, config.eval_data_config) if isinstance(d, DataConfig)]


def trackers(config: TrainingSettings) -> list[str]:
    """Where else to log."""
    asked = config.report_to
    return [name for name in ([asked] if isinstance(asked, str) else asked) if name not in ("none", "")]


def setting_problems(config: TrainingSettings) -> list[str]:
    """What is wrong with the settings, whatever the model is."""
    found = []
    if config.train_data_config is None:
        found.append("there is nothing to train on: name a data set with `train_data_config`")
    if config.task and config.task.lower().replace("_", "-") not in TASKS:
        near = get_close_matches(config.task, TASKS, 1)
        known = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(set(TASKS.values())))}"
        found.append(f"the task {config.task!r} is not known; {known}")
    for name in trackers(config):
        if name not in TRACKERS:
            found.append(f"`report_to: {name}` is not known; known: {', '.join(TRACKERS)}, none")
    if config.max_steps == 0:
        found.append("`max_steps: 0` trains nothing; leave it out to train for `num_train_epochs`")
    if config.bf16 and config.fp16:
        found.append("`bf16` and `fp16` are both set; leave one out")
    held_out = any(d.eval_fraction or d.eval_split for d in referenced(config)) or config.eval_data_config is not None
    named = any(isinstance(d, str) for d in (config.train_data_config, config.eval_data_config))
    for name in ("early_stopping", "load_best_model_at_end"):
        if getattr(config, name) and not held_out and not named:
            found.append(f"`{name}` needs evaluation data: `eval_data_config`, or `eval_fraction` in the training data")
    if config.eval_strategy == "no" and config.early_stopping:
        found.append("`early_stopping` needs evaluations, `eval_strategy: no` forbids them")
    if config.optim_args and config.optim in _ARGUMENTS:
        instead = ", ".join(f"`{name}`" for name in _ARGUMENTS[config.optim])
        found.append(f"`optim_args` has no effect on {config.optim}, which is set by {instead}")
    if config.label_smoothing_factor and config.loss:
        found.append("`label_smoothing_factor` has no effect beside `loss`: smooth the labels in your own loss")
    return found


def never_reached(config: TrainingSettings, steps: int, evaluates: bool) -> list[str]:
    """What is set to happen at a step that a training of so many steps does not come to."""
    found = []
    if 1 <= steps <= config.warmup_steps:
        found.append(
            f"the warm-up of {config.warmup_steps:g} steps does not end within the {steps:,} steps of the training: "
            "the learning rate never comes to its height"
        )
    by_steps = evaluates and config.eval_strategy in (None, "steps")
    if by_steps and config.eval_steps is not None and config.eval_steps > max(1, steps):
        found.append(
            f"no evaluation: `eval_steps` is {config.eval_steps:g}, the training has {steps:,} steps"
            + ("; it cannot stop early" if config.early_stopping else "")
        )
    return found
