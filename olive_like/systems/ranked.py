"""What systems share whose passes run as several ranks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, model_validator

from olive_like.marks import LocalPath, NotInKey
from olive_like.systems.base import Launch, Machine, Trouble
from olive_like.systems.devices import device_names, gpu_troubles, numbers_of_gpus
from olive_like.systems.hosts import read_hostfile
from olive_like.systems.launchers import Ranks
from olive_like.systems.local import Local, options_of


class Ranked(Local):
    """Base of systems with a launcher. Passes that cannot run as ranks run as one process."""

    class Config(Local.Config):
        ranks: int | None = Field(
            None, ge=1, description="Processes that train together; default: one per GPU, or one on processors."
        )
        hostfile: Annotated[LocalPath | None, NotInKey()] = Field(
            None, description="File with the machines, `name slots=8` a line; default: this machine alone."
        )
        nodes: Annotated[int, NotInKey()] = Field(
            1, ge=1, description="Machines of a Slurm allocation, where no hostfile names them."
        )
        main_address: Annotated[str | None, NotInKey()] = Field(
            None, description="Address of the first machine, for the others; default: its name."
        )
        main_port: Annotated[int | None, NotInKey()] = Field(
            None, ge=1, le=65535, description="Port there; default: a free one, 29500 with several machines."
        )
        launcher_args: Annotated[list[str], NotInKey()] = Field([], description="More arguments of the launcher.")
        environment_variables: Annotated[Mapping[str, str], NotInKey()] = Field(
            {}, description="Variables set for all ranks."
        )

        @model_validator(mode="after")
        def _ranks_fit(self) -> Ranked.Config:
            if self.slots > 1:
                raise ValueError(
                    "ranks take the system to themselves, so slots is 1; for several trainings side by side on one "
                    "machine's GPUs there is `{type: cuda, gpus_per_pass: 4}`"
                )
            if self.hostfile is not None and self.hostfile.exists():
                slots = sum(read_hostfile(self.hostfile).values())
                if self.ranks not in (None, slots):
                    raise ValueError(f"ranks is {self.ranks}, the hostfile has {slots} slots; leave ranks out")
            elif self.ranks is not None and self.ranks % self.nodes:
                raise ValueError(f"{self.ranks} ranks cannot be shared out evenly among {self.nodes} machines")
            return self

    default_device = "auto"

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        from olive_like.systems.machine import this_machine

        machine = this_machine()
        return {"device": cls.kind(config, machine), "world_size": cls.ranks(config, machine).count}

    @classmethod
    def command(cls, config: Any, ranks: Ranks) -> tuple[str, ...]:
        """The launcher's command."""
        raise NotImplementedError

    @classmethod
    def training(cls, config: Any, machine: Machine) -> dict[str, Any]:
        """What a pass that trains is told."""
        return {}

    @classmethod
    def environment(cls, config: Any, machine: Machine) -> dict[str, str]:
        """Variables that the launcher and the ranks need."""
        return {}

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        own = {"PYTHONSAFEPATH": "1", **cls.environment(config, machine), **config.environment_variables}
        ranks = replace(cls.ranks(config, machine), env=own)
        if ranks.elsewhere:
            own = {**own, "MASTER_ADDR": ranks.first, "MASTER_PORT": ranks.at}
        options = options_of(config)
        devices = device_names(cls.kind(config, machine), config, machine)
        return Launch(
            command=cls.command(config, ranks),
            env=own,
            ranks=ranks.count,
            devices=tuple(f"cuda:{number}" for number in ranks.gpus) or devices,
            threads=config.threads or machine.threads(ranks.each),
            options={**options, **cls.training(config, machine)},
            hosts=tuple(ranks.hosts or ("?",) * ranks.nodes) if ranks.elsewhere else (),
            warm=False,
            single=Launch(
                env=dict(config.environment_variables),
                devices=devices,
                threads=config.threads or machine.threads(1),
                options=options,
            ),
        )

    @classmethod
    def ranks(cls, config: Any, machine: Machine) -> Ranks:
        """How many ranks there are, where, and on what."""
        there = config.hostfile is not None and config.hostfile.exists()
        hosts = read_hostfile(config.hostfile) if there else None
        gpus = numbers_of_gpus(config, machine) if cls.kind(config, machine) == "cuda" else ()
        count = config.ranks or (sum(hosts.values()) if hosts else max(1, len(gpus)) * config.nodes)
        return Ranks(
            count=count,
            gpus=gpus[: max(1, count // config.nodes)] if hosts is None else gpus,
            hosts=hosts,
            nodes=config.nodes,
            hostfile=str(config.hostfile or ""),
            address=config.main_address or "",
            port=config.main_port,
            extra=tuple(config.launcher_args),
        )

    @classmethod
    def troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        found = super().troubles(config, machine)
        if config.hostfile is not None and not config.hostfile.exists():
            found.append(Trouble(f"there is no hostfile {config.hostfile}", "It has `name slots=8` a line."))
            return found
        program = cls.command(config, cls.ranks(config, machine))[0]
        if shutil.which(program) is None:
            found.append(Trouble(f"there is no program {program} on the PATH", "Install it, or name another launcher."))
        return found

    @classmethod
    def device_troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        ranks = cls.ranks(config, machine)
        if cls.kind(config, machine) != "cuda" or ranks.elsewhere:
            return []
        return gpu_troubles(config, machine, ranks.count)
