"""Questions to the shape of a graph that networkx answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx as nx


def dag_of(upstream: Mapping[str, Iterable[str]]) -> nx.DiGraph[str]:
    """The graph whose edges run from each input to the node that takes it."""
    dag: nx.DiGraph[str] = nx.DiGraph()
    dag.add_nodes_from(upstream)
    dag.add_edges_from((source, name) for name, sources in upstream.items() for source in sources)
    return dag


def running_order(dag: nx.DiGraph[str]) -> list[str]:
    """A topological order that keeps to the order of writing where it can."""
    return list(nx.topological_sort(dag))


def shortest_cycles(dag: nx.DiGraph[str]) -> list[list[str]]:
    """The shortest cycle of every knot in the graph; none if it is a DAG."""
    cycles = []
    for knot in nx.strongly_connected_components(dag):
        inside = dag.subgraph(knot)
        loops = [[node] for node in inside if inside.has_edge(node, node)]
        found = loops or [
            nx.shortest_path(inside, after, node) for node in list(inside)[:200] for after in inside.successors(node)
        ]
        if found:
            cycle = min(found, key=len)
            start = cycle.index(min(cycle))
            cycles.append(cycle[start:] + cycle[:start])
    return sorted(cycles)


def with_ancestors(dag: nx.DiGraph[str], names: Iterable[str]) -> set[str]:
    """The nodes and all they stand on, in one walk however many they are."""
    wanted: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting.extend(dag.predecessors(name))
    return wanted
