"""Workers that a Ray cluster finds a place for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from pydantic import Field

from olive_like.marks import NotInKey
from olive_like.systems.base import Launch, Machine, Trouble
from olive_like.systems.local import Local, options_of

_HALF_AN_HOUR = 1800.0


class Ray(Local):
    """Run where a Ray cluster has the resources: an existing cluster, or one of the run's own on this machine."""

    class Config(Local.Config):
        address: Annotated[str, NotInKey()] = Field(
            "local", description="`host:port` of a cluster, `auto` for the one that runs here, `local` to start one."
        )
        cpus: Annotated[float, NotInKey()] = Field(1, ge=0, description="Cores that each worker asks Ray for.")
        gpus: Annotated[float, NotInKey()] = Field(0, ge=0, description="GPUs that each worker asks Ray for.")
        resources: Annotated[Mapping[str, float], NotInKey()] = Field(
            {}, description="Other resources of the cluster's nodes that each worker asks for."
        )
        shared: Annotated[bool, NotInKey()] = Field(
            True, description="Whether the cluster's machines see the cache folder; else files travel through Ray."
        )
        retries: Annotated[int, NotInKey()] = Field(
            3, ge=0, description="How often a pass is tried again whose worker was lost."
        )

    @classmethod
    def kind(cls, config: Any, machine: Machine | None = None) -> str:
        return "cuda" if config.gpus else super().kind(config, machine)

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        fit = max(1, int(machine.cores // config.cpus)) if config.cpus else machine.cores
        slots = config.slots if "slots" in config.model_fields_set else fit
        asked = {"num_cpus": config.cpus, "num_gpus": config.gpus, "resources": dict(config.resources)}
        return Launch(
            command=(
                *(sys.executable, "-P", "-m", "olive_like.systems._ray_worker"),
                *(f"--address={config.address}", f"--resources={json.dumps(asked, sort_keys=True)}"),
                *(() if config.shared else ("--apart=1",)),
                "-m",
            ),
            devices=("cuda",) if cls.kind(config, machine) == "cuda" else ("cpu",),
            threads=config.threads or max(1, int(config.cpus)),
            slots=jobs or slots,
            options=options_of(config),
            hosts=("?",) if config.shared and config.address != "local" else (),
            apart=not config.shared,
            retries=config.retries,
            patience=_HALF_AN_HOUR,  # the cluster may be busy with other things
            libraries_here=True,
        )

    @classmethod
    def device_troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        """What GPUs there are is known to the cluster, if it is not this machine's own."""
        return super().device_troubles(config, machine) if config.address == "local" else []

    @classmethod
    def troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        found = super().troubles(config, machine)
        try:
            version("ray")
        except PackageNotFoundError:
            found.append(Trouble("ray is not installed", "pip install 'olive-like[ray]'"))
        if config.address == "local" and config.cpus > machine.cores:
            found.append(
                Trouble(f"a worker asks for {config.cpus:g} cores, the machine has {machine.cores}", "Lower `cpus`.")
            )
        return found
