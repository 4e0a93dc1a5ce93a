"""This machine's processors."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from olive_like.marks import NotInKey
from olive_like.systems.base import Launch, Machine, System, SystemConfig, Trouble
from olive_like.systems.devices import device_names, gpu_troubles, kind_of_device

_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:I?B)?\s*\Z", re.IGNORECASE)


def bytes_of(value: Any) -> Any:
    """`16GB` and the like as bytes; units are powers of 1024."""
    if isinstance(value, str):
        match = _SIZE.match(value)
        if match is None:
            raise ValueError(f"a size is a number of bytes or text like `16GB`, not {value!r}")
        return int(float(match.group(1)) * _UNITS[match.group(2).upper()])
    return value


Bytes = Annotated[int, BeforeValidator(bytes_of, json_schema_input_type=int | str), Field(ge=1)]


def _provider_name(name: str) -> str:
    return name if name.endswith("ExecutionProvider") else f"{name}ExecutionProvider"


Provider = Annotated[str, AfterValidator(_provider_name)]


class Accelerator(SystemConfig):
    """A device and what onnxruntime runs on it with."""

    device: Literal["cpu", "gpu", "npu"] | None = Field(None, description="Kind of device.")
    execution_providers: list[Provider] = Field([], description="onnxruntime's providers, the preferred one first.")
    memory: Annotated[Bytes | None, NotInKey()] = Field(None, description="Memory of the device, `8GB` say.")


class Local(System):
    """Run on the processors of this machine."""

    class Config(SystemConfig):
        slots: Annotated[int, NotInKey()] = Field(
            1, ge=1, description="Passes that may run side by side; they share the cores."
        )
        threads: Annotated[int | None, NotInKey()] = Field(
            None, ge=1, description="Threads of each pass; default: its share of the cores, at most OMP_NUM_THREADS."
        )
        memory: Annotated[Bytes | None, NotInKey()] = Field(
            None, description="Memory that passes may use together, `16GB` say; default: what the machine has."
        )
        accelerators: list[Accelerator] = Field(
            [], description="Devices and execution providers that models are made and measured for."
        )
        device: Literal["auto", "cpu", "gpu"] | None = Field(
            None, description="What passes compute on; default: the device of the accelerators."
        )
        devices: Annotated[Literal["auto"] | list[Annotated[int, Field(ge=0)]], NotInKey()] = Field(
            "auto", description="Numbers of the GPUs to use; auto: all."
        )

    default_device: ClassVar[str] = "cpu"

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        return {"device": cls.kind(config), "world_size": 1}

    @classmethod
    def kind(cls, config: Any, machine: Machine | None = None) -> str:
        """`cpu` or `cuda`."""
        return kind_of_device(config, machine, cls.default_device)

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        devices = device_names(cls.kind(config, machine), config, machine)
        slots = jobs or (config.slots if "slots" in config.model_fields_set else len(devices))
        threads = config.threads or machine.threads(slots)
        return Launch(devices=devices, threads=threads, slots=slots, options=options_of(config))

    @classmethod
    def troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        return [*cls.memory_troubles(config, machine), *cls.device_troubles(config, machine)]

    @classmethod
    def device_troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        """What is wrong with the devices."""
        return gpu_troubles(config, machine) if cls.kind(config, machine) == "cuda" else []

    @classmethod
    def memory_troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        """What is wrong with the memory that is asked for."""
        if config.memory is not None and config.memory > machine.memory:
            have, want = machine.memory / 2**30, config.memory / 2**30
            return [Trouble(f"the system asks for {want:.1f} GiB, the machine has {have:.1f}", "Lower `memory`.")]
        return []


def options_of(config: Any) -> dict[str, Any]:
    """What a pass is told of the accelerators: the kind of device and the execution providers."""
    if not config.accelerators:
        return {}
    first = config.accelerators[0]
    return {"device_kind": first.device, "execution_providers": list(first.execution_providers)}
