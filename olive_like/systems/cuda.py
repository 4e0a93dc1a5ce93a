"""NVIDIA's GPUs of this machine."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from olive_like.systems import launchers
from olive_like.systems.base import Launch, Machine, Trouble
from olive_like.systems.devices import gpu_troubles, numbers_of_gpus
from olive_like.systems.launchers import Ranks
from olive_like.systems.local import Local, options_of


class Cuda(Local):
    """Run on NVIDIA GPUs of this machine: side by side with one each, or with several per pass."""

    class Config(Local.Config):
        gpus_per_pass: int = Field(
            1, ge=1, description="GPUs that a pass which can be distributed trains on together; others use one."
        )

    default_device = "gpu"

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        return {**super().traits(config), "world_size": config.gpus_per_pass}

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        gpus, each = numbers_of_gpus(config, machine), config.gpus_per_pass
        if each == 1 or cls.kind(config, machine) != "cuda":
            return super().launch(config, machine, jobs)
        slots = max(1, len(gpus) // each)
        slots = min(slots, jobs or slots, config.slots if "slots" in config.model_fields_set else slots)
        devices = tuple(f"cuda:{number}" for number in gpus[: slots * each])
        options = options_of(config)
        return Launch(
            command=launchers.torchrun(Ranks(each, gpus)),
            env={"PYTHONSAFEPATH": "1"},
            ranks=each,
            devices=devices,
            threads=config.threads or machine.threads(slots * each),
            slots=slots,
            options=options,
            warm=False,
            single=Launch(
                devices=devices, threads=config.threads or machine.threads(slots), slots=slots, options=options
            ),
        )

    @classmethod
    def device_troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        return gpu_troubles(config, machine, config.gpus_per_pass) if cls.kind(config, machine) == "cuda" else []
