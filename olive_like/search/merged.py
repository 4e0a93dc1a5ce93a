"""Many trials as one graph: what several of them need stands in it once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from olive_like.canonical import digest
from olive_like.graph.keys import data_free_identity
from olive_like.graph.model import SOURCE, Graph, Node
from olive_like.graph.topology import dag_of, running_order


@dataclass(frozen=True)
class Merged:
    """The common graph, and what each trial's nodes are called in it."""

    graph: Graph
    names: list[dict[str, str]]  # per trial: its node -> the node of the common graph


def merge(graphs: list[Graph]) -> Merged:
    """Put graphs together; nodes of the same pass, settings and inputs become one."""
    nodes: dict[str, Node] = {}
    by_identity: dict[str, str] = {}
    taken: dict[str, int] = {}
    names: list[dict[str, str]] = []
    for graph in graphs:
        here: dict[str, str] = {SOURCE: SOURCE}
        for name, node in graph.nodes.items():
            moved = _moved(node, here)
            identity = digest([data_free_identity(moved), list(moved.inputs), dict(moved.data), moved.system])
            if identity not in by_identity:
                taken[name] = taken.get(name, 0) + 1
                new = name if taken[name] == 1 else f"{name}#{taken[name]}"
                by_identity[identity] = new
                nodes[new] = replace(moved, name=new)
            here[name] = by_identity[identity]
        names.append(here)
    dag = dag_of({name: [up for up in node.upstream if up != SOURCE] for name, node in nodes.items()})
    ordered = {name: nodes[name] for name in running_order(dag)}
    return Merged(Graph(ordered, dag, {}), names)


def _moved(node: Node, names: Mapping[str, str]) -> Node:
    inputs = tuple(names[name] for name in node.inputs)
    return replace(node, inputs=inputs, data={field: names[name] for field, name in node.data.items()})
