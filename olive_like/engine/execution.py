"""The state of a run: which nodes are settled, which are ready, what each one gave.

Knows nothing of processes: a scheduler asks what is ready, and says what became of it. Every question costs
the same whether the graph has ten nodes or ten thousand.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from olive_like.artifacts import KINDS, Artifact
from olive_like.engine.events import RunLog
from olive_like.graph.model import SOURCE
from olive_like.graph.plan import Plan, PlanNode, Status
from olive_like.store import Record, Store

# Told of every event of a running pass (node, key, kind, values); text says why it is stopped.
Watch = Callable[[str, str, str, Mapping[str, Any]], str | None]


class Outcome(StrEnum):
    """What became of a node."""

    HIT = "hit"
    RAN = "ran"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass
class Cause:
    """Why a node has no result."""

    message: str
    hint: str = ""
    traceback: str = ""
    log: str = ""
    repro: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"message": self.message, "hint": self.hint, "log": self.log, "repro": self.repro}


@dataclass
class NodeState:
    """One node during a run."""

    plan: PlanNode
    order: int
    waiting: int = 0  # upstream nodes that are not settled
    key: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    record: Record | None = None
    artifact: Artifact | None = None  # once it was verified or made in this run
    seconds: float = 0.0
    peak_rss: int = 0
    peak_gpu: int | None = None  # None: torch used no GPU
    made_bytes: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # the pass's own, which its stored result repeats
    troubles: list[str] = field(default_factory=list)  # warnings of the engine's, about this run alone
    error: Cause | None = None
    again: bool = False  # its stored result turned out to be damaged

    @property
    def name(self) -> str:
        return self.plan.node.name

    @property
    def size(self) -> int:
        """Bytes of its result, as far as that is known."""
        return self.record.size if self.record else self.made_bytes

    @property
    def digest(self) -> str | None:
        """Of its result, if it has one."""
        return self.artifact.digest if self.artifact else self.record.digest if self.record else None

    @property
    def settled(self) -> bool:
        return self.outcome is not None

    @property
    def good(self) -> bool:
        return self.outcome in (Outcome.HIT, Outcome.RAN)


class Execution:
    """A plan being carried out."""

    def __init__(self, plan: Plan, store: Store, log: RunLog, seed: int = 0, watch: Watch | None = None) -> None:
        self.plan = plan
        self.watch = watch
        self.store = store
        self.log = log
        self.seed = seed
        self.states = {name: NodeState(item, order) for order, (name, item) in enumerate(plan.nodes.items())}
        self._below: dict[str, list[str]] = {name: [] for name in self.states}
        self._ready: list[tuple[int, str]] = []
        self._unsettled = len(self.states)
        for name, state in self.states.items():
            above = [up for up in state.plan.node.upstream if up in self.states]
            state.waiting = len(above)
            for up in above:
                self._below[up].append(name)
            if not above:
                self._push(name)

    @property
    def finished(self) -> bool:
        return self._unsettled == 0

    def take_ready(self) -> Iterator[NodeState]:
        """Nodes whose inputs are all there, in the plan's order; each is given out once."""
        while self._ready:
            state = self.states[heapq.heappop(self._ready)[1]]
            if not state.settled:
                yield state

    def look_up(self, state: NodeState) -> bool:
        """Make the node's key final and settle it if the store has that key."""
        if not state.key:
            node = state.plan.node
            if state.plan.status is Status.WAITS:
                state.key, state.document = self.plan.planner.finish(
                    node.name,
                    [self.known(name) for name in node.inputs],
                    {slot: self.known(name) for slot, name in node.data.items()},
                )
            else:
                state.key, state.document = state.plan.key, state.plan.document
        if self.asked_for(state):
            return False
        record = state.plan.record if state.plan.record is not None and not state.again else None
        record = record or self.store.peek(state.key)
        if record is None:
            return False
        self.hit(state, record)
        return True

    def asked_for(self, state: NodeState) -> bool:
        """Whether the node is to be made whatever the store has."""
        return state.name in self.plan.planner.again

    def known(self, name: str) -> Artifact:
        """A settled node's result, or the input model: its digest is right, its files may be unverified."""
        if name == SOURCE:
            return self._source()
        state = self.states[name]
        if state.artifact is not None:
            return state.artifact
        assert state.record is not None
        return unverified(self.store, state.record)

    def settled(self, name: str) -> bool:
        """Whether it is known what became of a node, or of the input model."""
        return name == SOURCE or self.states[name].settled

    def in_hand(self, name: str) -> Artifact | None:
        """A node's result if it was verified or made in this run."""
        return self._source() if name == SOURCE else self.states[name].artifact

    def verify(self, name: str) -> bool:
        """Check the files of a settled node's result; False if the store no longer has it whole."""
        if name == SOURCE:
            return True
        state = self.states[name]
        if state.artifact is None:
            state.artifact = self.store.fetch(state.key, closure([self._source()] if self.plan.source else []))
        return state.artifact is not None

    def _source(self) -> Artifact:
        assert self.plan.source is not None
        return self.plan.source

    def hit(self, state: NodeState, record: Record) -> None:
        """The store has it."""
        state.record = record
        state.metrics = dict(record.metrics)
        state.notes = list(record.extra.get("notes", ()))
        state.warnings = list(record.extra.get("warnings", ()))
        self._settle(state, Outcome.HIT)
        self.store.used(state.key, self.plan.planner.workflow, state.name, self.log.run)
        self.log.emit("hit", state.name, key=state.key, digest=record.digest)

    def ran(self, state: NodeState, artifact: Artifact) -> None:
        """It was made just now."""
        state.artifact = artifact
        self._settle(state, Outcome.RAN)
        self.log.emit(
            "done",
            state.name,
            key=state.key,
            digest=artifact.digest,
            seconds=round(state.seconds, 6),
            peak_rss_bytes=state.peak_rss,
            peak_gpu_bytes=state.peak_gpu,
            metrics=state.metrics,
        )

    def failed(self, state: NodeState, cause: Cause) -> None:
        """It could not be made, and so nothing below it can."""
        state.error = cause
        self._settle(state, Outcome.FAILED)
        self.log.emit("failed", state.name, key=state.key, **cause.to_json())
        self._skip_below(state)

    def skip_rest(self, why: str) -> None:
        """The run ends here."""
        for state in self.states.values():
            if not state.settled:
                self._skip(state, why)

    def reopen(self, name: str, waiter: NodeState | None = None) -> None:
        """A stored result turned out to be damaged or gone: make it again before the one that waits for it."""
        state = self.states[name]
        if state.settled:
            state.outcome, state.artifact, state.record, state.again = None, None, None, True
            self._unsettled += 1
            state.waiting = 0
            for up in state.plan.node.upstream:
                if up in self.states and not self.states[up].settled:
                    state.waiting += 1
            for below in self._below[name]:
                lower = self.states[below]
                if not lower.settled and lower is not waiter and lower.waiting:
                    lower.waiting += 1
            if not state.waiting:
                self._push(name)
        if waiter is not None:
            waiter.waiting += 1

    def _push(self, name: str) -> None:
        heapq.heappush(self._ready, (self.states[name].order, name))

    def _settle(self, state: NodeState, outcome: Outcome) -> None:
        assert state.outcome is None
        state.outcome = outcome
        self._unsettled -= 1
        self.log.end_node(state.name)
        if not state.good:
            return
        for name in self._below[state.name]:
            below = self.states[name]
            if below.settled or not below.waiting:
                continue
            below.waiting -= 1
            if not below.waiting:
                self._push(name)

    def _skip_below(self, state: NodeState) -> None:
        stack = list(self._below[state.name])
        while stack:
            below = self.states[stack.pop()]
            if not below.settled:
                self._skip(below, f"{state.name} failed")
                stack += self._below[below.name]

    def _skip(self, state: NodeState, why: str) -> None:
        state.error = Cause(why)
        self._settle(state, Outcome.SKIPPED)
        self.log.emit("skipped", state.name, why=why)


def unverified(store: Store, record: Record) -> Artifact:
    """What a record names, as good as the record: nobody has looked at its files."""
    refs = {name: Artifact(Path(), digest=digest) for name, digest in record.refs.items()}
    return KINDS[record.kind](store.layout.object(record.digest), record.attributes, refs, record.digest)


def closure(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """The artifacts and all that they stand on."""
    found: list[Artifact] = []
    stack = list(artifacts)
    while stack:
        artifact = stack.pop()
        found.append(artifact)
        stack.extend(artifact.refs.values())
    return found
