"""Training as several ranks: what comes before the model, and how what they share comes together again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainingArguments

from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.finetune.settings import TrainingSettings

_WHOLE = ("pissa", "dora", "dpo", "bottleneck")  # these read or change the base's weights before the training


def _check(method: str, config: TrainingSettings, context: Context, deepspeed: Mapping[str, Any] | None) -> None:
    """Refuse what cannot work before anything is loaded."""
    if deepspeed and "RANK" not in os.environ:
        raise PassError(
            "DeepSpeed needs its launcher, and this system has none",
            "Run the pass on a system of type deepspeed, with one rank if need be: `{type: deepspeed, ranks: 1}`.",
        )
    start = str(getattr(config, "init_lora_weights", "default"))
    shares = stage(deepspeed) == 3 or bool(context.launch.get("fsdp"))
    if shares and (method == "pissa" or start in ("pissa", "olora")):
        raise PassError(
            f"{method if start == 'default' else start} changes the weights that ranks share out here",
            "Use stage 2 or below, or another method.",
        )
    if context.launch.get("fsdp") and method == "qlora":
        raise PassError("QLoRA does not train under FSDP here", "Use the system deepspeed with stage 2, or torchrun.")


def stage(deepspeed: Mapping[str, Any] | None) -> int | None:
    """What DeepSpeed's ranks share; None without DeepSpeed."""
    if not deepspeed:
        return None
    found = deepspeed.get("zero_optimization", {}).get("stage", 0)
    return int(found)


def begin(method: str, config: TrainingSettings, context: Context, deepspeed: Mapping[str, Any] | None) -> None:
    """Bring DeepSpeed's ranks together, which wants to be first; after a look at what cannot work."""
    _check(method, config, context, deepspeed)
    if deepspeed:
        from olive_like.passes.finetune import _deepspeed

        _deepspeed.begin(context.device)


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
