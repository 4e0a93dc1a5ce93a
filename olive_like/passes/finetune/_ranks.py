"""Training as several ranks: what comes before the model, and how what they share comes together again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainingArguments

from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.finetune.misfits import misfit, stage
from olive_like.passes.finetune.settings import TrainingSettings
from olive_like.systems import zero

_WHOLE = ("pissa", "loftq", "dora", "dpo", "bottleneck")  # these read or change the base's weights before the training


def _check(method: str, config: TrainingSettings, context: Context, deepspeed: Mapping[str, Any] | None) -> None:
    """Refuse what cannot work before anything is loaded."""
    if deepspeed and "RANK" not in os.environ:
        raise PassError(
            "DeepSpeed needs its launcher, and this system has none",
            "Run the pass on a system of type deepspeed, with one rank if need be: `{type: deepspeed, ranks: 1}`.",
        )
    if wrong := misfit(method, config, deepspeed, context.launch.get("fsdp")):
        raise PassError(*wrong)


def begin(
    method: str, config: TrainingSettings, context: Context, deepspeed: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Bring DeepSpeed's ranks together, which wants to be first; after a look at what cannot work.

    Gives DeepSpeed's settings as they can be here.
    """
    _check(method, config, context, deepspeed)
    if not deepspeed:
        return None
    from olive_like.passes.finetune import _deepspeed

    _deepspeed.begin(context.device)
    if deepspeed.get("optimizer") == zero.ADAM:
        if config.optim.startswith("adamw") and _deepspeed.can_build():
            return deepspeed
        context.note(f"the optimizer is {config.optim} as torch has it, not DeepSpeed's own for processors")
        return {**{k: v for k, v in deepspeed.items() if k != "optimizer"}, "zero_force_ds_cpu_optimizer": False}
    return deepspeed


@contextmanager
def loading(method: str, config: TrainingSettings, arguments: TrainingArguments) -> Iterator[None]:
    """Load weights whole where the method needs to see them before they are shared out."""
    start = str(getattr(config, "init_lora_weights", "default"))
    settings = getattr(arguments, "hf_deepspeed_config", None)
    if settings is None or not (method in _WHOLE or getattr(config, "use_dora", False) or start != "default"):
        yield
        return
    from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        set_hf_deepspeed_config(settings)


def same_numbers(model: Any, dtype: torch.dtype, deepspeed: Mapping[str, Any] | None) -> None:
    """Give what is trained the base's numbers under stage 3; DeepSpeed's optimizer keeps it in float32 all the same.

    It does so by itself in the other stages, and at stage 3 leaves a model as it is that was shared out while it was
    loaded: an adapter in float32 would meet activations in bfloat16.
    """
    if stage(deepspeed) != 3 or dtype is torch.float32:
        return
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype is torch.float32:
            parameter.data = parameter.data.to(dtype)


def exchange(records: Sequence[dict[str, Any]], field: str, context: Context) -> None:
    """Share what each rank has found out about the records that fall to it, which the ranks take in turn."""
    if context.world_size < 2:
        return
    found: list[list[Any]] = [[] for _ in range(context.world_size)]
    mine = [record[field] for record in records[context.rank :: context.world_size]]
    torch.distributed.all_gather_object(found, mine)
    for rank, values in enumerate(found):
        for record, value in zip(records[rank :: context.world_size], values, strict=True):
            record[field] = value


def gathered(trainer: Any, model: Any, everything: bool) -> dict[str, torch.Tensor] | None:
    """All weights (or those that were trained) on rank 0, where ranks have parts of them; None where they do not.

    Every rank has to call it.
    """
    if trainer.is_deepspeed_enabled:
        from olive_like.passes.finetune import _deepspeed

        return _deepspeed.gathered(model, everything, trainer.args.process_index)
    if trainer.is_fsdp_enabled:
        state: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        return {name: tensor for name, tensor in state.items() if everything or name in trained}
    return None


def sizes(model: Any) -> tuple[int, int]:
    """Trained parameters and all of them, also where this rank holds but a part."""
    counts = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters()]
    return sum(count for count, trained in counts if trained), sum(count for count, _ in counts)
