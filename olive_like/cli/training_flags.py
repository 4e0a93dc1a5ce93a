"""Flags of transformers' trainer that `finetune` is given: settings of the pass, of no effect here, or not here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from olive_like.cli import flags
from olive_like.errors import WorkflowError

if TYPE_CHECKING:
    from pydantic import BaseModel

# flag -> why nothing changes by it
_NO_EFFECT = {
    **dict.fromkeys(("do_train", "do_eval", "do_predict"), "the command trains, and evaluates where there is data"),
    **dict.fromkeys(("overwrite_output_dir",), "an output is replaced where it changed"),
    **dict.fromkeys(("save_strategy", "save_only_model", "save_safetensors", "save_on_each_node"),
                    "checkpoints are the engine's own, and gone when the run is through"),
    **dict.fromkeys(("logging_strategy", "log_level", "log_level_replica", "log_on_each_node", "disable_tqdm",
                     "logging_nan_inf_filter", "include_num_input_tokens_seen", "skip_memory_metrics"),
                    "the log of every run is kept; --logging_steps says how often a line is written"),
    **dict.fromkeys(("dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor",
                     "remove_unused_columns", "label_names", "prediction_loss_only"),
                    "the data are prepared before the training"),
    **dict.fromkeys(("local_rank", "ddp_backend", "use_cpu", "no_cuda"), "the system says where the training runs"),
}  # fmt: skip
# flag -> what to do instead
_INSTEAD = {
    "push_to_hub": "Upload the output folder after the run.",
    "fsdp": "Name a system: --system torchrun.",
    "auto_find_batch_size": "Write --auto_batch true.",
    "activation_checkpointing": "Write --gradient_checkpointing true.",
    "metric_for_best_model": "--load_best_model_at_end keeps the weights with the lowest evaluation loss.",
    "per_gpu_train_batch_size": "Write --per_device_train_batch_size.",
}


def settings(pass_name: str, arguments: list[str], known: list[str]) -> dict[str, Any]:
    """`--learning-rate 1e-4` and the like as settings of a pass, with the types that YAML would give them."""
    from olive_like.passes.registry import load
    from olive_like.workflow.overrides import value_of
    from olive_like.workflow.validation import names_at

    config = load(pass_name).Config
    names = names_at(config, ())
    found: dict[str, Any] = {}
    position = 0
    while position < len(arguments):
        flag, sign, value = arguments[position].partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or not (name in names or name in _NO_EFFECT):
            raise _refused(arguments[position], name, [*known, *("--" + n.replace("_", "-") for n in names)])
        position += 1
        if not sign:
            follows = position < len(arguments) and not _is_flag(arguments[position])
            if not follows and name in names and not _is_switch(config, name):
                raise WorkflowError(f"--{name} needs a value", f"Write --{name} VALUE.")
            value = arguments[position] if follows else "true"
            position += follows
        if name in names:
            try:
                found[name] = value_of(value)
            except ValueError as error:
                raise WorkflowError(f"--{name} {value}: {error}") from None
        else:
            print(f"note: --{name} has no effect here: {_NO_EFFECT[name]}", file=sys.stderr)
    return found


def _is_switch(config: type[BaseModel], name: str) -> bool:
    """Whether the setting can be true."""
    from olive_like.workflow.annotations import options

    for field, info in config.model_fields.items():
        others: Any = getattr(info.validation_alias, "choices", ())
        if name == field or name in others:
            return any(option in (bool, Any) for option in options(info.annotation))
    return False


def _is_flag(text: str) -> bool:
    """`-1` is a value, `--x` and `-x` are none."""
    return text.startswith("--") or (text.startswith("-") and not text[1:2].isdigit() and text != "-")


def _refused(argument: str, name: str, known: list[str]) -> WorkflowError:
    if name in _INSTEAD:
        return WorkflowError(f"there is no flag --{name} here", _INSTEAD[name])
    return flags.unknown_flag(argument, known)
