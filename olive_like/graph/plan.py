"""The plan: a key, a status and reasons for every node of a graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from olive_like.artifacts import Artifact, artifact_digest
from olive_like.graph import keys
from olive_like.graph.memory import estimates
from olive_like.graph.model import SOURCE, Graph, Node
from olive_like.graph.needs import needs_of
from olive_like.graph.places import Place
from olive_like.graph.reasons import Reason, Why, changes
from olive_like.graph.sources import SourceModel, identify
from olive_like.redact import Redactor
from olive_like.store import Record, Store
from olive_like.store.model import matches


class Status(StrEnum):
    HIT = "hit"  # the store has the result
    MISS = "miss"  # it will run
    WAITS = "waits"  # whether it runs is known when its inputs are there


@dataclass(frozen=True)
class PlanNode:
    node: Node
    key: str
    status: Status
    reasons: tuple[Reason, ...]
    document: Mapping[str, Any]  # what the key is the digest of
    record: Record | None = None  # of a hit

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.node.name,
            "pass": self.node.pass_name,
            "inputs": list(self.node.inputs),
            "data": dict(self.node.data),
            "role": self.node.role.value,
            "system": self.node.system,
            "key": self.key,
            "status": self.status.value,
            "reasons": [reason.to_json() for reason in self.reasons],
            **needs_of(self.node).to_json(),
        }


@dataclass(frozen=True)
class Plan:
    graph: Graph
    nodes: dict[str, PlanNode]  # in running order
    source: Artifact | None  # the input model; None: none is named, or it is not on this machine yet
    planner: Planner = field(repr=False)
    places: Mapping[str, Place] = field(default_factory=dict)  # system -> how it runs here, for what is to run

    def to_json(self) -> dict[str, Any]:
        memory = self.memory
        return {
            "nodes": [node.to_json() | {"memory_bytes": memory.get(name)} for name, node in self.nodes.items()],
            "outputs": dict(self.graph.outputs),
            "systems": {name: place.to_json() for name, place in self.places.items()},
            "input_model": {"digest": self.source.digest, "kind": self.source.kind} if self.source else None,
        }

    @cached_property
    def memory(self) -> Mapping[str, int]:
        """Estimated peak bytes of what is to run, by node, where that can be told."""
        to_run = {name for name, item in self.nodes.items() if item.status is not Status.HIT}
        return estimates((item.node for item in self.nodes.values()), to_run, self.source)

    @property
    def all_hits(self) -> bool:
        return all(node.status is Status.HIT for node in self.nodes.values())


class Planner:
    """Makes keys: provisional ones for a plan, final ones while a run goes on."""

    def __init__(
        self,
        graph: Graph,
        store: Store,
        *,
        source: SourceModel | None,
        seed: int,
        traits: Mapping[str, Mapping[str, Any]],
        workflow: str,
        again: Collection[str] = (),
    ) -> None:
        self.graph = graph
        self.store = store
        self.workflow = workflow
        self.again = frozenset(again)  # to be made whatever the store has
        self._source = source
        self._seed = seed
        self._traits = traits
        self._static: dict[str, dict[str, Any]] = {}
        self._file_digest = cache(store.file_digest)  # many nodes name the same file
        self._redactor = Redactor()

    def plan(self) -> Plan:
        """Find every node's key and status from what the store has."""
        source = identify(self._source, self._tree_digest) if self._source else None
        planned: dict[str, PlanNode] = {}
        for name, node in self.graph.nodes.items():
            planned[name] = self._plan_node(node, planned, source)
        return Plan(self.graph, planned, source, self)

    def finish(self, name: str, inputs: Sequence[Artifact], data: Mapping[str, Artifact]) -> tuple[str, dict[str, Any]]:
        """The final key of a node, and its document, now that its inputs are there."""
        node = self.graph.nodes[name]
        document = keys.with_inputs(
            self._static_part(node),
            [keys.known_input(artifact.kind, self._content(node, artifact)) for artifact in inputs],
            {field: keys.known_input(artifact.kind, artifact.digest) for field, artifact in data.items()},
        )
        return keys.key_of(document), document

    def source_digest(self) -> str | None:
        """The input model's digest as it is at this moment; a file that did not change is not read again."""
        source = identify(self._source, self._tree_digest) if self._source else None
        return source.digest if source else None

    def _static_part(self, node: Node) -> dict[str, Any]:
        if node.name not in self._static:
            traits = self._traits.get(node.system, {})
            if not node.cls.distributed:
                traits = {**traits, "world_size": 1}  # it runs as one process wherever it runs
            self._static[node.name] = keys.static_part(node, self._seed, traits, self._file_digest)
        return self._static[node.name]

    def _plan_node(self, node: Node, planned: Mapping[str, PlanNode], source: Artifact | None) -> PlanNode:
        document = keys.with_inputs(
            self._static_part(node),
            [self._input(node, name, planned, source) for name in node.inputs],
            {field: self._input(None, name, planned, source) for field, name in node.data.items()},
        )
        key = keys.key_of(document)
        awaited = [name for name in node.upstream if not self._known(name, planned, source)]
        record = None if awaited or node.name in self.again else self.store.peek(key)
        if record is not None:
            return PlanNode(node, key, Status.HIT, (), document, record)
        status = Status.WAITS if awaited else Status.MISS
        return PlanNode(node, key, status, self._reasons(node, document, awaited), document)

    def _known(self, name: str, planned: Mapping[str, PlanNode], source: Artifact | None) -> bool:
        return source is not None if name == SOURCE else planned[name].status is Status.HIT

    def _input(
        self, node: Node | None, name: str, planned: Mapping[str, PlanNode], source: Artifact | None
    ) -> dict[str, Any]:
        """How an input stands in a key document: by its content if that is known."""
        if name == SOURCE:
            if source is not None:
                return keys.known_input(source.kind, self._content(node, source) if node else source.digest)
            assert self._source is not None
            return keys.awaited_input(self._source.kind, f"hub:{self._source.name}")
        made = planned[name]
        if made.record is None:
            return keys.awaited_input(made.node.kind, made.key)
        record = made.record
        if node is None or node.cls.reads is None:
            return keys.known_input(record.kind, record.digest)
        part = [file for file in record.files if matches(file.path, node.cls.reads)]
        return keys.known_input(record.kind, artifact_digest("part", {}, record.refs, part))

    def _content(self, node: Node, artifact: Artifact) -> str | None:
        """The digest of an input, or of the part of it that the pass reads where it declares one."""
        if node.cls.reads is None:
            return artifact.digest
        refs = {name: str(ref.digest) for name, ref in artifact.refs.items()}
        return self._tree_digest(artifact.path, "part", {}, refs, node.cls.reads)

    def _tree_digest(
        self,
        path: Path,
        kind: str,
        attributes: Mapping[str, Any],
        refs: Mapping[str, str],
        only: tuple[str, ...] | None,
    ) -> str:
        return self.store.tree_digest(path, kind, attributes, refs, only=only).digest

    def _reasons(self, node: Node, document: Mapping[str, Any], awaited: Sequence[str]) -> tuple[Reason, ...]:
        waits = tuple(
            Reason(Why.UPSTREAM, _place(node, name), None, name if name != SOURCE else "the download of the model")
            for name in awaited
        )
        if node.name in self.again:
            return (Reason(Why.ASKED), *waits)
        last = self.store.last_record(self.workflow, node.name)
        if last is None:
            return (*waits, Reason(Why.NEVER_RUN)) if not waits else (Reason(Why.NEVER_RUN), *waits)
        names = {f"inputs[{i}]": n for i, n in enumerate(node.inputs)}
        changed = tuple(changes(last.document, document, names, self._redactor.data))
        if not changed and not waits:
            return (Reason(Why.GONE if last.key == keys.key_of(document) else Why.SECRET),)
        return (*changed, *waits)


def _place(node: Node, name: str) -> str:
    return f"inputs[{node.inputs.index(name)}]" if name in node.inputs else f"data of {node.name}"
