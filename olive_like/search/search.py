"""A search: points are drawn, run as one graph, measured, compared; the best becomes an ordinary workflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.engine.cancel import CancelHandle
from olive_like.engine.comparison import SUFFIX, number
from olive_like.engine.execution import Execution
from olive_like.engine.goals import verdicts
from olive_like.engine.prepare import Request, execute
from olive_like.errors import WorkflowError
from olive_like.graph.check_search import check_search, find, measured_by
from olive_like.graph.model import SOURCE, Graph, Role
from olive_like.graph.planning import graph_of
from olive_like.search.merged import merge
from olive_like.search.objectives import Aim, aims, broken
from olive_like.search.pareto import front
from olive_like.search.space import Dimension, Point, at, dimensions, grid, identity, in_words
from olive_like.store import Store
from olive_like.workflow.problems import Problems
from olive_like.workflow.read import read
from olive_like.workflow.schema import Workflow, invalid
from olive_like.workflow.search import SearchStrategy

if TYPE_CHECKING:
    from olive_like.engine.warm import Warm
    from olive_like.search._pruner import Pruner
    from olive_like.search._sampler import Sampler

STUDY = "study.db"  # optuna's own record
_DEFAULT_SAMPLES = 20
_MOST_AT_ONCE = 256


@dataclass
class Trial:
    """One point, and what became of it."""

    number: int
    point: Point
    settings: dict[str, Any] = field(default_factory=dict)  # the point in words
    status: str = "open"  # done, failed, pruned, infeasible
    values: dict[str, float] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)  # its nodes -> their keys

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "point": self.point, "settings": self.settings, "status": self.status,
                "values": self.values, "why": self.why, "nodes": self.nodes}  # fmt: skip


@dataclass
class Search:
    """How a search went."""

    aims: list[Aim]
    trials: list[Trial]
    front: list[int]  # numbers of the trials that no other beats
    best: int | None
    workflow: dict[str, Any] | None  # the best one, with nothing left open
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "objectives": [{"metric": aim.name, "direction": "max" if aim.higher else "min"} for aim in self.aims],
            "trials": [trial.to_json() for trial in self.trials],
            "pareto_front": self.front,
            "best": self.best,
        }


def search(
    workflow: Workflow,
    store: Store,
    request: Request,
    on_event: Callable[[dict[str, Any]], None] | None,
    cancel: CancelHandle,
    folder: Path,
) -> Search:
    """Try points until the strategy is satisfied. Everything that trials share is made once."""
    strategy = workflow.search_strategy or SearchStrategy()
    searcher = _Searcher(workflow, strategy, store, request, on_event, cancel, folder)
    return searcher.run()


class _Searcher:
    def __init__(
        self,
        workflow: Workflow,
        strategy: SearchStrategy,
        store: Store,
        request: Request,
        on_event: Callable[[dict[str, Any]], None] | None,
        cancel: CancelHandle,
        folder: Path,
    ) -> None:
        problems = Problems(workflow._tree, workflow.file)
        check_search(workflow, problems)
        if problems.errors:
            raise invalid(problems.found)
        self.workflow, self.strategy, self.store, self.request = workflow, strategy, store, request
        self.on_event, self.cancel, self.folder = on_event, cancel, folder
        self.dims: list[Dimension] = dimensions(workflow)
        self.aims = aims(workflow, strategy)
        self.better = measured_by(workflow)
        self.trials: list[Trial] = []
        self.baseline: dict[str, float] = {}
        self.begun = time.monotonic()
        self.pruner: Pruner | None = None
        self.warm: Warm | None = None

    def run(self) -> Search:
        """The whole search; its workers stay from one batch of trials to the next."""
        from olive_like.engine.warm import Warm

        if self.strategy.pruner == "hyperband":
            from olive_like.search._pruner import Pruner

            self.pruner = Pruner(self.folder, self.strategy.prune_from, self.strategy.prune_factor)
        with Warm() as self.warm:
            return self._run()

    def _run(self) -> Search:
        points = self._grid() if self.strategy.sampler == "grid" else None
        sampler = None if points is not None else self._sampler()
        wanted = self.strategy.max_samples or (len(points) if points is not None else _DEFAULT_SAMPLES)
        while len(self.trials) < wanted and not self._over():
            count = min(self._at_once(), wanted - len(self.trials))
            batch = points[len(self.trials) :][:count] if points is not None else self._ask(sampler, count)
            if not batch:
                break
            first = len(self.trials)
            trials = [Trial(first + i, point, in_words(self.workflow, point)) for i, point in enumerate(batch)]
            self.trials += trials
            self._try(trials)
            if sampler is not None and not self.cancel.requested:
                for trial in trials:
                    sampler.tell(trial.point, self._costs(trial))
        if sampler is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            sampler.save(self.folder / STUDY)
        return self._conclude()

    def _grid(self) -> list[Point]:
        points = grid(self.dims)
        assert points is not None, "check_search refuses what has no end"
        return list(points)

    def _sampler(self) -> Sampler:
        from olive_like.search._sampler import Sampler

        seed = self.strategy.seed if self.strategy.seed is not None else self.workflow.seed
        return Sampler(self.strategy.sampler, seed, self.dims, ["minimize"] * len(self.aims))

    def _ask(self, sampler: Sampler | None, count: int) -> list[Point]:
        assert sampler is not None
        return sampler.ask(count)

    def _at_once(self) -> int:
        """How many trials are run as one graph: all, unless what they give decides how to go on."""
        slots = self.request.jobs or 1
        if self.strategy.stop_when_goals_met or self.strategy.max_time:
            return slots
        if self.strategy.sampler == "tpe":
            return max(slots, 2)
        return 16 if self.strategy.sampler == "nsga2" else _MOST_AT_ONCE

    def _over(self) -> bool:
        if self.cancel.requested:
            return True
        if self.strategy.max_time is not None and time.monotonic() - self.begun > self.strategy.max_time:
            return True
        return self.strategy.stop_when_goals_met and any(trial.status == "done" for trial in self.trials)

    def _try(self, trials: list[Trial]) -> None:
        """Run trials as one graph and read off what each gave."""
        graphs: list[Graph] = []
        runnable: list[Trial] = []
        for trial in trials:
            try:
                graphs.append(graph_of(self._workflow_at(trial.point)))
                runnable.append(trial)
            except WorkflowError as error:
                trial.status, trial.why = "failed", [error.message]
        if not graphs:
            return
        merged = merge(graphs)
        finished = execute(
            self.workflow,
            self.store,
            self.request,
            [],
            self.on_event,
            self.cancel,
            graph=merged.graph,
            watch=self.pruner,
            warm=self.warm,
        )
        self._read_baseline(finished.execution)
        missed: dict[str, list[str]] = {}
        for node, verdict in verdicts(finished.execution):
            if not verdict.met:
                missed.setdefault(node, []).append(verdict.text)
        for trial, graph, names in zip(runnable, graphs, merged.names, strict=True):
            self._read(trial, graph, names, finished.execution)
            if trial.status in ("done", "infeasible"):
                trial.why += [text for name in graph.nodes for text in missed.get(names[name], ())]
                trial.status = "infeasible" if trial.why else "done"

    def _workflow_at(self, point: Point) -> Workflow:
        tree = at(self.workflow, self.dims, point)
        return read(tree, base_dir=self.workflow.base_dir).require()

    def _read(self, trial: Trial, graph: Graph, names: Mapping[str, str], execution: Execution) -> None:
        only_source = all(node.inputs[:1] == (SOURCE,) for node in graph.nodes.values() if node.role is Role.METRICS)
        for name, node in graph.nodes.items():
            state = execution.states[names[name]]
            trial.nodes[name] = state.key
            if not state.good:
                stopped = self.pruner is not None and state.key in self.pruner.pruned
                trial.status = "pruned" if stopped or trial.status == "pruned" else "failed"
                trial.why.append(f"{name}: {state.error.message if state.error else 'did not run'}")
            elif node.role is Role.METRICS and (only_source or node.inputs[:1] != (SOURCE,)):
                trial.values |= _numbers(state.metrics)
        if trial.status != "open":
            return
        missing = [aim.name for aim in self.aims if aim.name not in trial.values]
        missing += [bound.metric for bound in self.strategy.constraints if find(bound.metric, trial.values) is None]
        if missing:
            trial.status, trial.why = "failed", [f"{missing[0]} was not measured"]
            return
        trial.why = broken(self.strategy.constraints, trial.values, self.baseline, self.better)
        trial.status = "infeasible" if trial.why else "done"

    def _read_baseline(self, execution: Execution) -> None:
        state = execution.states.get(f"{SOURCE}{SUFFIX}")
        if state is not None and state.good:
            self.baseline = _numbers(state.metrics)

    def _costs(self, trial: Trial) -> list[float] | None:
        """What the sampler is told: nothing of a failure, and of what breaks a constraint that it is bad."""
        if trial.status not in ("done", "infeasible"):
            return None
        penalty = 1e12 * len(trial.why)
        return [aim.cost(trial.values) + penalty for aim in self.aims]

    def _conclude(self) -> Search:
        done = [trial for trial in self.trials if trial.status == "done"]
        costs = [[aim.cost(trial.values) for aim in self.aims] for trial in done]
        chosen = [done[index] for index in front(costs)]
        # The objectives are in the order of their rank: the best is best in the first, ties by the next.
        best = min(chosen, key=lambda trial: [aim.cost(trial.values) for aim in self.aims], default=None)
        return Search(
            self.aims,
            self.trials,
            [trial.number for trial in chosen],
            best.number if best else None,
            at(self.workflow, self.dims, best.point) if best else None,
            self.cancel.requested,
        )


def search_id(workflow: Workflow) -> str:
    """The same for the same search: where its study is kept."""
    strategy = workflow.search_strategy
    spaces = {dimension.name: dimension.space.to_json() for dimension in dimensions(workflow)}
    return identity({"spaces": spaces, "strategy": strategy.model_dump(mode="json") if strategy else None})[:16]


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, entry in metrics.items() if (value := number(entry)) is not None}
