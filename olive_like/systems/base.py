"""What a system is: accelerator x launcher x environment, resolved into a frozen launch description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class SystemConfig(BaseModel):
    """Settings of a system."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Machine:
    """What the planning machine has, found without importing torch."""

    cores: int
    memory: int  # bytes that this process may use
    gpus: tuple[str, ...] = ()  # names
    most_threads: int | None = None  # that a process is to have, whatever the cores

    def threads(self, side_by_side: int) -> int:
        """Threads for each of so many processes."""
        share = max(1, self.cores // side_by_side)
        return min(share, self.most_threads) if self.most_threads else share


@dataclass(frozen=True)
class Launch:
    """How a worker of a system is started. Nothing in it is looked up later."""

    command: tuple[str, ...] = ()  # put before the worker's own module; empty: this interpreter
    env: Mapping[str, str] = field(default_factory=dict)
    ranks: int = 1
    devices: tuple[str, ...] = ("cpu",)
    threads: int = 1  # per rank
    slots: int = 1  # workers side by side
    options: Mapping[str, Any] = field(default_factory=dict)  # handed to the pass as context.launch
    hosts: tuple[str, ...] = ()  # the machines that take part, where these are others than the engine's
    apart: bool = False  # whether the workers do not see the cache folder, and so no checkpoints in it
    warm: bool = True  # whether a worker may run one pass after another
    single: Launch | None = None  # how a pass is started that cannot run as several ranks
    retries: int = 0  # of a pass whose worker was lost, whatever the run says
    patience: float = 300.0  # seconds until its workers must be there
    libraries_here: bool = False  # whether a command's workers have the libraries of this environment

    def to_json(self) -> dict[str, Any]:
        return {
            "command": list(self.command),
            "env": dict(self.env),
            "ranks": self.ranks,
            "devices": list(self.devices),
            "threads": self.threads,
            "slots": self.slots,
            "hosts": list(self.hosts),
        }


@dataclass(frozen=True)
class Trouble:
    """Why a system cannot work here, and what to do."""

    message: str
    hint: str = ""
    device: bool = False  # only passes that compute on the device cannot work


class System:
    """Base of all systems: pure functions from settings and a machine to a launch."""

    Config: ClassVar[type[SystemConfig]] = SystemConfig

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        """What of the system can change numerics: device kind, world size, how training is split up.

        No machine is asked, except for the kind of device where the settings leave it to the machine.
        A system with an environment of its own says under `tools` what is installed there: versions by
        distribution, or one text that stands for all of them.
        """
        return {"device": "cpu", "world_size": 1}

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        """The launch description; a pure function of its arguments."""
        raise NotImplementedError

    @classmethod
    def troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        """What keeps the system from working on this machine."""
        return []

    @classmethod
    def here(cls, machine: Machine) -> list[Trouble]:
        """What keeps any system of this type from working on this machine, whatever its settings."""
        if any(field.is_required() for field in cls.Config.model_fields.values()):
            return []
        return cls.troubles(cls.Config(), machine)
