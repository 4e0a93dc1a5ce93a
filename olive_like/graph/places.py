"""Where the nodes of a plan run: how each system starts its workers here, or why it cannot."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from olive_like.graph.model import Node
from olive_like.systems.base import Launch, Machine, Trouble


@dataclass(frozen=True)
class Place:
    """One system as it is on this machine."""

    launch: Launch | None  # None where its settings do not allow to tell
    troubles: tuple[Trouble, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "launch": self.launch.to_json() if self.launch else None,
            "troubles": [{"message": trouble.message, "hint": trouble.hint} for trouble in self.troubles],
        }


def place_of(cls: Any, config: Any, machine: Machine, nodes: Iterable[Node]) -> Place:
    """How a system would run these nodes; what only hinders computing on its device counts where one does."""
    some = list(nodes)
    computes = any("device" in node.cls.traits for node in some)
    troubles = tuple(t for t in cls.troubles(config, machine) if computes or not t.device)
    if troubles:
        return Place(None, troubles)
    launch = cls.launch(config, machine)
    return Place(launch, tuple(_misfits(launch, some)))


def _misfits(launch: Launch, nodes: Iterable[Node]) -> Iterator[Trouble]:
    """Passes that do not go with how the system starts ranks."""
    for node in nodes:
        found = node.cls.misfit(node.config, launch.options) if node.cls.distributed else None
        if found is not None:
            yield Trouble(f"{node.name}: {found[0]}", found[1])


def lines(places: Mapping[str, Place]) -> Iterator[str]:
    """What is to be said of them: how ranks are started, and what does not work."""
    for name, place in places.items():
        launch = place.launch
        if launch is not None and launch.ranks > 1:
            where = f" on {len(launch.hosts)} machines" if launch.hosts else f" on {', '.join(launch.devices)}"
            yield f"{name}: {launch.ranks} ranks{where}: {shlex.join(launch.command)}"
        for trouble in place.troubles:
            yield f"{name} cannot work here: {trouble.message}. {trouble.hint}".rstrip()
