"""The way from a workflow to its plan, as the API and the command line take it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from olive_like.errors import WorkflowError
from olive_like.graph.build import build
from olive_like.graph.explain import nearest_hint
from olive_like.graph.keys import node_files
from olive_like.graph.model import Graph, Node
from olive_like.graph.places import Place, place_of
from olive_like.graph.plan import Plan, Planner, Status
from olive_like.graph.source_of import source_of
from olive_like.graph.sources import SourceModel
from olive_like.store import Store
from olive_like.systems import registry as systems
from olive_like.systems.machine import this_machine
from olive_like.workflow.problems import Problems
from olive_like.workflow.schema import Workflow, invalid


def graph_of(workflow: Workflow) -> Graph:
    """The graph of a workflow; raises WorkflowError with every problem where it cannot be one."""
    problems = Problems(workflow._tree, workflow.file)
    graph = build(workflow, problems)
    if graph is None:
        raise invalid(problems.found)
    return graph


def plan_workflow(
    workflow: Workflow,
    store: Store,
    *,
    until: str | None = None,
    only: str | None = None,
    again: Collection[str] = (),
    graph: Graph | None = None,
) -> Plan:
    """Keys, statuses and reasons for a workflow, or for the part of it that is asked for.

    `again` names what is to run whatever the store has.
    """
    if only is not None and until is not None:
        raise WorkflowError("`until` and `only` exclude each other", "Name one pass.")
    graph = graph or graph_of(workflow)
    target = only or until
    if target is not None:
        graph = part_of(graph, target)
    for name in again:
        _require(graph, name)
    source = source_of(workflow.input_model, workflow.base_dir)
    _refuse_missing_files(workflow, graph, source)
    planner = Planner(
        graph,
        store,
        source=source,
        seed=workflow.seed,
        traits={name: traits_of(workflow, name) for name in {node.system for node in graph.nodes.values()}},
        workflow=identity(workflow),
        again=again,
    )
    plan = planner.plan()
    if only is not None:
        _refuse_unmade(plan, only)
    return replace(plan, places=_places(workflow, plan))


def _refuse_missing_files(workflow: Workflow, graph: Graph, source: SourceModel | None) -> None:
    """A file that is not there has no place in a key, and its pass would fail when all before it has run."""
    named = (file.path for node in graph.nodes.values() for file in node_files(node))
    if (source is not None and source.missing()) or not all(path.exists() for path in named):
        from olive_like.workflow.files import missing_files

        problems = missing_files(workflow)
        if problems:
            raise invalid(problems)


def _places(workflow: Workflow, plan: Plan) -> dict[str, Place]:
    """The systems on which something is to run."""
    nodes: dict[str, list[Node]] = {}
    for item in plan.nodes.values():
        if item.status is not Status.HIT:
            nodes.setdefault(item.node.system, []).append(item.node)
    return {name: place_of(*system_of(workflow, name), this_machine(), some) for name, some in nodes.items()}


def identity(workflow: Workflow) -> str:
    """What the runs of a workflow are filed under: its file, or its name where it has none."""
    return str(Path(workflow.file).resolve()) if workflow.file else workflow.name


def traits_of(workflow: Workflow, system: str) -> Mapping[str, Any]:
    """What of a system can change numerics."""
    cls, config = system_of(workflow, system)
    traits: Mapping[str, Any] = cls.traits(config)
    return traits


def system_of(workflow: Workflow, name: str) -> tuple[Any, Any]:
    """Class and settings of a system: one of the workflow's, or a type that needs no settings."""
    known = workflow.systems.get(name)
    if known is not None:
        return known.cls, known.config
    cls = systems.load(name)
    return cls, cls.Config()


def part_of(graph: Graph, target: str) -> Graph:
    """What one node needs, that node included."""
    _require(graph, target)
    wanted = {target, *graph.ancestors(target)}
    nodes = {name: node for name, node in graph.nodes.items() if name in wanted}
    outputs = {name: node for name, node in graph.outputs.items() if node == target} or {target: target}
    return replace(graph, nodes=nodes, dag=graph.dag.subgraph(wanted).copy(), outputs=outputs)


def _require(graph: Graph, name: str) -> None:
    if name not in graph.nodes:
        raise WorkflowError(f"the workflow has no pass {name!r}", nearest_hint(name, graph.nodes))


def _refuse_unmade(plan: Plan, only: str) -> None:
    unmade = [name for name, node in plan.nodes.items() if name != only and node.status != "hit"]
    if unmade:
        raise WorkflowError(
            f"{only} cannot run alone: {', '.join(unmade)} must run first",
            f"Use `--until {only}` to run what it needs as well.",
        )
