"""Which devices a system means."""

from __future__ import annotations

from typing import Any

from olive_like.systems.base import Machine, Trouble
from olive_like.systems.graphics import LOOKED_FOR, nothing_found


def kind_of_device(config: Any, machine: Machine | None = None, default: str = "cpu") -> str:
    """`cpu` or `cuda`: what the settings say, else what the machine has where the default is `auto`."""
    asked = config.device
    if asked is None and config.accelerators:
        asked = config.accelerators[0].device
    if asked is None:
        asked = default
    if asked == "auto":
        if machine is None:
            from olive_like.systems.machine import this_machine

            machine = this_machine()
        asked = "gpu" if machine.gpus else "cpu"
    return "cuda" if asked == "gpu" else "cpu"


def numbers_of_gpus(config: Any, machine: Machine) -> tuple[int, ...]:
    """Numbers of the GPUs that the system may use; those that are asked for, there or not."""
    if config.devices == "auto":
        return tuple(range(len(machine.gpus)))
    return tuple(dict.fromkeys(config.devices))


def device_names(kind: str, config: Any, machine: Machine) -> tuple[str, ...]:
    """`cuda:0` and so on; `cpu` where there is none."""
    if kind != "cuda":
        return ("cpu",)
    return tuple(f"cuda:{number}" for number in numbers_of_gpus(config, machine)) or ("cpu",)


def gpu_troubles(config: Any, machine: Machine, needed: int = 1) -> list[Trouble]:
    """What keeps passes from computing on GPUs here."""
    have = len(machine.gpus)
    if not have:
        return [
            Trouble(
                f"no GPU was found: {nothing_found()}",
                f"Looked for: {LOOKED_FOR}. `olive-like doctor` shows what this machine has; "
                "`device: cpu` in the system makes passes compute on the processors.",
                device=True,
            )
        ]
    numbers = numbers_of_gpus(config, machine)
    missing = [str(number) for number in numbers if number >= have]
    if missing:
        there = "one GPU, number 0" if have == 1 else f"{have} GPUs, numbers 0 to {have - 1}"
        return [Trouble(f"there is no GPU {', '.join(missing)}: the machine has {there}", "Correct `devices`.", True)]
    if len(numbers) < needed:
        return [Trouble(f"{needed} ranks need as many GPUs; there are {len(numbers)}", "Lower `ranks`.", True)]
    return []
