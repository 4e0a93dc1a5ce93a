"""Which ways of training do not go with which ways of sharing a model out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CHANGE_THE_BASE = ("pissa", "loftq", "olora")  # before the training: they need its weights whole
_NAMES = {"pissa": "PiSSA", "loftq": "LoftQ", "olora": "OLoRA", "qlora": "QLoRA"}


def stage(deepspeed: Mapping[str, Any] | None) -> int | None:
    """What DeepSpeed's ranks share; None without DeepSpeed."""
    if not deepspeed:
        return None
    return int(deepspeed.get("zero_optimization", {}).get("stage", 0))


def misfit(
    method: str, config: Any, deepspeed: Mapping[str, Any] | None, fsdp: Mapping[str, Any] | None
) -> tuple[str, str] | None:
    """What cannot work, and what to do."""
    start = str(getattr(config, "init_lora_weights", "default"))
    changes = next((name for name in (method, start) if name in _CHANGE_THE_BASE), None)
    if changes and (stage(deepspeed) == 3 or fsdp is not None):
        return (
            f"{_NAMES[changes]} changes weights that ranks share out here",
            "Use DeepSpeed with stage 2 or below, torchrun, or another method.",
        )
    if method == "qlora" and fsdp is not None:
        return "QLoRA does not train under FSDP here", "Use the system deepspeed, or torchrun."
    return None
