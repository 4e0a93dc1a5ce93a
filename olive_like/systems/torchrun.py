"""Several ranks that each hold the whole model, or a part of it, started by PyTorch's launcher."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from olive_like.marks import NotInKey
from olive_like.systems import launchers
from olive_like.systems.base import Machine, Trouble
from olive_like.systems.launchers import Ranks
from olive_like.systems.ranked import Ranked


class Torchrun(Ranked):
    """Train as several ranks, each with the whole model (DDP)."""

    class Config(Ranked.Config):
        launcher: Annotated[Literal["torchrun", "slurm", "pdsh"], NotInKey()] = Field(
            "torchrun", description="How ranks are started; with several machines slurm or pdsh."
        )

    @classmethod
    def command(cls, config: Any, ranks: Ranks) -> tuple[str, ...]:
        starts = {"slurm": launchers.torchrun_by_slurm, "pdsh": launchers.torchrun_by_pdsh}
        return starts.get(config.launcher, launchers.torchrun)(ranks)

    @classmethod
    def troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        found = super().troubles(config, machine)
        if config.launcher == "torchrun" and cls.ranks(config, machine).elsewhere:
            found.append(
                Trouble("torchrun starts ranks on this machine only", "Set `launcher: slurm` or `launcher: pdsh`.")
            )
        return found


class Fsdp(Torchrun):
    """Train as several ranks that share weights, gradients and optimizer among them (FSDP)."""

    class Config(Torchrun.Config):
        offload: Annotated[Literal["cpu"] | None, NotInKey()] = Field(
            None, description="Where weights wait while they are not needed."
        )
        version: Annotated[Literal[1, 2], NotInKey()] = Field(2, description="Which of PyTorch's two.")
        fsdp_config: dict[str, Any] = Field({}, description="More of transformers' `fsdp_config`.")

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        return {**super().traits(config), "training": {"fsdp": dict(config.fsdp_config)}}

    @classmethod
    def training(cls, config: Any, machine: Machine) -> dict[str, Any]:
        settings = {"version": config.version, **config.fsdp_config}
        if config.offload:
            settings["cpu_offload"] = True
        return {"fsdp": settings}
