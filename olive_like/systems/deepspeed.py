"""Ranks under DeepSpeed, which share optimizer, gradients and weights among them (ZeRO)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from olive_like.marks import LocalPath, NotInKey
from olive_like.systems import launchers, zero
from olive_like.systems.base import Machine, Trouble
from olive_like.systems.launchers import Ranks
from olive_like.systems.ranked import Ranked

Launcher = Literal["deepspeed", "torchrun", "pdsh", "openmpi", "mpich", "slurm"]


class DeepSpeed(Ranked):
    """Train under DeepSpeed: ZeRO stage 1 shares the optimizer, 2 the gradients too, 3 the weights too."""

    class Config(Ranked.Config):
        stage: Annotated[Literal[0, 1, 2, 3] | None, NotInKey()] = Field(
            None, description="What ranks share; default: what ds_config says, else 2."
        )
        offload: Annotated[Literal["cpu", "nvme"] | None, NotInKey()] = Field(
            None, description="Where the optimizer, and in stage 3 the weights, are kept."
        )
        nvme_path: Annotated[str | None, NotInKey()] = Field(None, description="Folder on a disk for `offload: nvme`.")
        ds_config: dict[str, Any] | LocalPath | None = Field(
            None, description="A configuration of DeepSpeed, or the file that has it; merged with the rest."
        )
        launcher: Annotated[Launcher | None, NotInKey()] = Field(
            None, description="How ranks are started; default: deepspeed, with a hostfile pdsh."
        )

        @model_validator(mode="after")
        def _fits(self) -> DeepSpeed.Config:
            if self.offload == "nvme" and not self.nvme_path:
                raise ValueError("offload: nvme needs `nvme_path`, a folder on a fast disk")
            if self.offload and _stage(self) == 0:
                raise ValueError("offload needs stage 1, 2 or 3")
            configuration(self, gpu=True)
            return self

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        """The stages compute the same; what else DeepSpeed is told may not."""
        return {**super().traits(config), "training": {"deepspeed": zero.semantic(given(config))}}

    @classmethod
    def command(cls, config: Any, ranks: Ranks) -> tuple[str, ...]:
        launcher = config.launcher or ("pdsh" if ranks.elsewhere else "deepspeed")
        if launcher == "slurm":
            return launchers.slurm(ranks)
        if launcher == "torchrun":
            return launchers.torchrun(ranks)
        return launchers.deepspeed(ranks) if launcher == "deepspeed" else launchers.deepspeed_over(launcher, ranks)

    @classmethod
    def environment(cls, config: Any, machine: Machine) -> dict[str, str]:
        return {"DS_ACCELERATOR": "cuda" if cls.kind(config, machine) == "cuda" else "cpu"}

    @classmethod
    def training(cls, config: Any, machine: Machine) -> dict[str, Any]:
        return {"deepspeed": configuration(config, gpu=cls.kind(config, machine) == "cuda")}

    @classmethod
    def troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        found = super().troubles(config, machine)
        found += [*_missing("deepspeed")]
        elsewhere = cls.ranks(config, machine).elsewhere
        if elsewhere and config.launcher in ("deepspeed", "torchrun"):
            found.append(
                Trouble(
                    f"the launcher {config.launcher} starts ranks on this machine only",
                    "With several machines: `launcher: pdsh`, `openmpi`, `mpich` or `slurm`.",
                )
            )
        if not elsewhere and config.launcher in ("pdsh", "openmpi", "mpich"):
            found.append(Trouble(f"the launcher {config.launcher} needs a hostfile", "Name one with `hostfile`."))
        return found


def _missing(distribution: str) -> list[Trouble]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(distribution)
    except PackageNotFoundError:
        return [Trouble(f"{distribution} is not installed", f"pip install 'olive-like[{distribution}]'")]
    return []


def given(config: Any) -> Mapping[str, Any]:
    """The user's own configuration, read from its file if it is one."""
    own = config.ds_config
    if own is None or isinstance(own, dict):
        return own or {}
    if not own.exists():
        return {}
    try:
        found = json.loads(own.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{own} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{own} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{own} is not a mapping of settings")
    return found


def configuration(config: Any, *, gpu: bool) -> dict[str, Any]:
    """What DeepSpeed is started with; ValueError names what contradicts what."""
    return zero.settings(_stage(config), config.offload, config.nvme_path, gpu, given(config))


def _stage(config: Any) -> int:
    if config.stage is not None:
        return int(config.stage)
    zero_part = given(config).get("zero_optimization", {})
    if not isinstance(zero_part, Mapping):
        raise ValueError(f"zero_optimization of ds_config is a mapping, not {zero_part!r}")
    said = zero_part.get("stage")
    return said if isinstance(said, int) else 2
