"""What a worker is told to do: one pass, everything resolved, as one line of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from olive_like.artifacts import Artifact, Dataset, from_json, to_json
from olive_like.passes.base import Context, Pass, PassConfig


@dataclass(frozen=True)
class Job:
    """One execution of one pass. Nothing in it is looked up later."""

    name: str  # of the node in the graph
    target: str  # "module:Class" of the pass
    config: Mapping[str, Any]
    inputs: tuple[Artifact, ...]
    output: Path
    scratch: Path
    data: Mapping[str, Artifact] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    launch: Mapping[str, Any] = field(default_factory=dict)
    memory: int = 0  # bytes of loaded models that the worker may keep for later passes

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "target": self.target,
            "config": dict(self.config),
            "inputs": [to_json(artifact) for artifact in self.inputs],
            "data": {name: to_json(artifact) for name, artifact in self.data.items()},
            "output": str(self.output),
            "scratch": str(self.scratch),
            "seed": self.seed,
            "device": self.device,
            "threads": self.threads,
            "launch": dict(self.launch),
            "memory": self.memory,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        return cls(
            name=data["name"],
            target=data["target"],
            config=data["config"],
            inputs=tuple(from_json(artifact) for artifact in data["inputs"]),
            data={name: from_json(artifact) for name, artifact in data["data"].items()},
            output=Path(data["output"]),
            scratch=Path(data["scratch"]),
            seed=data["seed"],
            device=data["device"],
            threads=data["threads"],
            launch=data["launch"],
            memory=data.get("memory", 0),
        )

    def load(self) -> tuple[Pass, PassConfig]:
        """The pass, its module imported, and its settings, checked again."""
        from importlib import import_module

        module, _, name = self.target.partition(":")
        cls: Any = import_module(module)
        for part in name.split("."):
            cls = getattr(cls, part)
        return cls(), cls.Config.model_validate(dict(self.config))

    def context(self, rank: int = 0, world_size: int = 1) -> Context:
        """What the pass gets besides its inputs and settings."""
        data = {name: artifact for name, artifact in self.data.items() if isinstance(artifact, Dataset)}
        return Context(
            output=self.output,
            scratch=self.scratch,
            seed=self.seed,
            device=self.device,
            threads=self.threads,
            rank=rank,
            world_size=world_size,
            launch=self.launch,
            data=data,
        )


def target_of(cls: type[Pass]) -> str:
    """Where a worker finds the class again."""
    return f"{cls.__module__}:{cls.__qualname__}"
