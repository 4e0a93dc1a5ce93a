"""The graph of a workflow: its nodes, and the networkx graph that holds them together."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from olive_like.artifacts import Artifact
from olive_like.passes.base import Pass, PassConfig

if TYPE_CHECKING:
    import networkx as nx

    from olive_like.diagnostics import Diagnostic

SOURCE = "input_model"  # the name by which passes refer to the model that the workflow starts from


class Role(StrEnum):
    """Why a node is in the graph."""

    PASS = "pass"  # the user wrote it
    DATA = "data"  # prepares a data set for a pass
    METRICS = "metrics"  # measures what a pass made


@dataclass(frozen=True)
class Node:
    """One step: a pass with its settings, the nodes it takes from, and the system it runs on."""

    name: str
    cls: type[Pass]
    pass_name: str
    config: PassConfig
    inputs: tuple[str, ...]
    data: dict[str, str] = field(default_factory=dict)  # config field -> the node that prepares it
    system: str = "local"
    role: Role = Role.PASS
    kind: type[Artifact] = Artifact  # of what it makes
    written_at: tuple[Any, ...] = ()  # where in the workflow file

    @property
    def upstream(self) -> tuple[str, ...]:
        """Every node that must be done before this one, each once: a pass may take the same input twice."""
        return tuple(dict.fromkeys((*self.inputs, *self.data.values())))


@dataclass
class Graph:
    """The nodes in an order in which they can run, and the same as a networkx graph."""

    nodes: dict[str, Node]
    dag: nx.DiGraph[str]
    outputs: dict[str, str]  # output name -> node name
    warnings: tuple[Diagnostic, ...] = ()  # what was noticed in making it

    def descendants(self, name: str) -> list[str]:
        """What cannot run when `name` fails, in running order."""
        import networkx as nx

        below = nx.descendants(self.dag, name)
        return [node for node in self.nodes if node in below]

    def ancestors(self, name: str) -> list[str]:
        """All that `name` stands on, in running order."""
        import networkx as nx

        above = nx.ancestors(self.dag, name)
        return [node for node in self.nodes if node in above]
