"""The pretend system: for tests, demonstrations and scale."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from olive_like.marks import NotInKey
from olive_like.systems.base import Launch, Machine, System, SystemConfig


class NullSystem(System):
    """Claims to be whatever device it is told to be; its workers are ordinary processes."""

    class Config(SystemConfig):
        device: Literal["cpu", "cuda"] = Field("cpu", description="The device that passes are told of.")
        world_size: int = Field(1, ge=1, description="The number of ranks that passes are told of.")
        slots: Annotated[int | None, NotInKey()] = Field(
            None, ge=1, description="Passes side by side; default: one per core."
        )

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        return {"device": config.device, "world_size": config.world_size}

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        return Launch(devices=(config.device,), slots=jobs or config.slots or max(1, machine.cores))
