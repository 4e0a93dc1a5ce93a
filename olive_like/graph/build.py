"""Workflow -> graph: what follows what, what is prepared and measured on the way, and what cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from olive_like.artifacts import Metrics
from olive_like.diagnostics import Severity
from olive_like.diagnostics.nearest import did_you_mean
from olive_like.graph.kinds import check_kinds
from olive_like.graph.model import SOURCE, Graph, Node, Role
from olive_like.graph.source_of import kind_of
from olive_like.passes.base import Pass, PassConfig
from olive_like.passes.registry import load
from olive_like.workflow.check_passes import data_fields, data_names

if TYPE_CHECKING:
    from olive_like.data.config import DataConfig
    from olive_like.metrics.config import Evaluator
    from olive_like.workflow.entries import PassEntry
    from olive_like.workflow.problems import Problems
    from olive_like.workflow.schema import Workflow

MEASURE = "Evaluate"


def build(workflow: Workflow, problems: Problems) -> Graph | None:
    """Link every pass to its inputs, add the nodes it implies, and check kinds along every edge.

    What is wrong goes to `problems`; with an error among it there is no graph.
    """
    before, known = len(problems.errors), len(problems.found)
    open_ = any(entry.spaces or entry.alternatives or entry.skips for entry in workflow.passes.values())
    if open_ or workflow.search_strategy is not None:
        from olive_like.graph.check_search import check_search

        check_search(workflow, problems)
    builder = _Builder(workflow, problems)
    builder.add_passes()
    graph = builder.graph() if len(problems.errors) == before else None
    if graph is None or len(problems.errors) > before:
        return None
    graph.warnings = tuple(problems.found[known:])
    return graph


def _goals() -> Any:
    from olive_like.metrics import goals  # imported where something is measured

    return goals


class _Builder:
    def __init__(self, workflow: Workflow, problems: Problems) -> None:
        self.workflow = workflow
        self.problems = problems
        self.nodes: dict[str, Node] = {}
        self.used: dict[str, set[str]] = {"data_configs": set(), "systems": set(), "evaluators": set()}
        self.source = kind_of(workflow.input_model)

    def add_passes(self) -> None:
        """A node for every pass that the user wrote, and for the data that it needs."""
        above: str | None = SOURCE if self.source else None
        for name, written in self.workflow.passes.items():
            self._note_open(written)
            inputs = written.inputs if written.inputs is not None else (above,) if above else ()
            self._check_inputs(name, inputs)
            config, data = self._with_data(name, written.cls, written.config, inputs)
            if written.cls.produces is Metrics:
                config = self._with_evaluator(written, config)
            self.nodes[name] = Node(
                name=name,
                cls=written.cls,
                pass_name=written.type,
                config=config,
                inputs=inputs,
                data=data,
                system=self._system(written.system),
                written_at=("passes", name),
            )
            above = name

    def graph(self) -> Graph | None:
        """The graph of what the outputs need, in running order."""
        from olive_like.graph import topology

        edges = {name: [u for u in node.upstream if u != SOURCE] for name, node in self.nodes.items()}
        dag = topology.dag_of(edges)
        cycles = topology.shortest_cycles(dag)
        for cycle in cycles:
            self._say_cycle(cycle)
        if cycles:
            return None
        outputs = self._outputs(dag)
        for name in self._measured(outputs):
            if not self._add_measuring(name):
                continue
            dag.add_edges_from((u, f"{name}.metrics") for u in self.nodes[f"{name}.metrics"].upstream if u != SOURCE)
            dag.add_node(f"{name}.metrics")
        measuring = {name for name, node in self.nodes.items() if node.role is Role.METRICS}
        needed = topology.with_ancestors(dag, {*outputs.values(), *measuring} - {SOURCE})
        order = [name for name in topology.running_order(dag) if name in needed]
        self._say_unused(needed)
        if not order and not outputs and not self.workflow.passes:
            self.problems.add("OL210", "there is no pass, and nothing is measured: a run would do nothing", ("passes",),
                              "Add a pass; or an `evaluator` and `evaluate_input_model: true`.", key=True)  # fmt: skip
        nodes = check_kinds([self.nodes[name] for name in order], self.source, self.problems)
        return Graph(nodes, dag.subgraph(order).copy(), outputs)

    def _note_open(self, written: PassEntry) -> None:
        """What only another point of a search uses is in use too."""
        for entry in (written, *written.alternatives):
            self.used["data_configs"].update(name for _, _, name in data_names(entry.config, entry.spaces))
            self.used["systems"].update([entry.system] if entry.system else ())
            if (evaluator := self._known_evaluator(entry.evaluator)) is not None:
                self._with_named_data(evaluator)

    # inputs

    def _check_inputs(self, name: str, inputs: tuple[str, ...]) -> None:
        for index, source in enumerate(inputs):
            if source == SOURCE and self.source is None:
                self.problems.add("OL208", f"{name} takes `{SOURCE}`, and the workflow has none", ("passes", name))
            elif source != SOURCE and source not in self.workflow.passes:
                near = did_you_mean(source, [*self.workflow.passes, SOURCE])
                written_at = self.workflow.passes[name].input_locs[index]
                self.problems.add("OL201", f"there is no pass `{source}`", written_at, near)

    def _system(self, written: str | None) -> str:
        system = written or self.workflow.system or "local"
        self.used["systems"].add(system)
        return system

    # data

    def _with_data(
        self, name: str, cls: type[Pass], config: PassConfig, inputs: tuple[str, ...]
    ) -> tuple[PassConfig, dict[str, str]]:
        """The config with names of data sets replaced by them, and the nodes that prepare them."""
        resolved = self._resolved(config)
        only = next(iter(self.workflow.data_configs.items())) if len(self.workflow.data_configs) == 1 else None
        wanting = cls.data_field
        if wanting and only and getattr(resolved, wanting) is None:
            resolved = resolved.model_copy(update={wanting: only[1]})
            self.used["data_configs"].add(only[0])
        data: dict[str, str] = {}
        for field in data_fields(type(resolved)) if cls.data_pass else ():
            value = getattr(resolved, field)
            if value is not None:
                data[field] = self._add_data_node(name, field, cls, value, inputs)
        return resolved, data

    def _resolved(self, config: PassConfig) -> PassConfig:
        named = {field: name for field in data_fields(type(config)) if isinstance(name := getattr(config, field), str)}
        known = self.workflow.data_configs
        return config.model_copy(update={field: known[name] for field, name in named.items()}) if named else config

    def _add_data_node(self, name: str, field: str, cls: type[Pass], data: DataConfig, inputs: tuple[str, ...]) -> str:
        assert cls.data_pass is not None
        preparing = load(cls.data_pass)
        node = f"{name}.{field.removesuffix('_config')}"
        self.nodes[node] = Node(
            name=node,
            cls=preparing,
            pass_name=cls.data_pass,
            config=preparing.Config.model_validate(data.model_dump(exclude_unset=True)),
            inputs=inputs[:1],
            system="local",
            role=Role.DATA,
            written_at=("passes", name, field),
        )
        return node

    # measuring

    def _outputs(self, dag: Any) -> dict[str, str]:
        if self.workflow.outputs is not None:
            return dict(self.workflow.outputs)
        return {name: name for name in self.workflow.passes if not any(True for _ in dag.successors(name))}

    def _measured(self, outputs: Mapping[str, str]) -> Iterator[str]:
        """The nodes whose result is measured: those with an evaluator, and the outputs for the default one."""
        if self.source and self._evaluator_of(SOURCE) is not None:
            yield SOURCE
        elif self.workflow.evaluate_input_model and not any(
            d.severity is Severity.ERROR for d in self.workflow.warnings
        ):
            what = "no evaluator" if self.source else "no input model"
            self.problems.add("OL206", f"`evaluate_input_model` has no effect: there is {what}",
                              ("evaluate_input_model",), "Name an `evaluator`, or take it out.")  # fmt: skip
        for name, written in self.workflow.passes.items():
            wanted = written.evaluator is not None or (self.workflow.evaluator and name in outputs.values())
            if wanted and self.nodes[name].cls.produces is not Metrics:
                yield name

    def _with_evaluator(self, written: PassEntry, config: PassConfig) -> PassConfig:
        """The config of a pass that measures: its evaluator, or the workflow's, may be named as any pass's may."""
        own = getattr(config, "evaluator", None)
        if own is None:
            return config
        chosen = own if own.metrics else self._known_evaluator(written.evaluator or self.workflow.evaluator)
        if chosen is None or not chosen.metrics:
            message = f"{written.name} measures nothing: it has no evaluator with metrics"
            self.problems.add("OL508", message, written.loc, key=True)
            return config
        return config.model_copy(update={"evaluator": self._with_named_data(chosen)})

    def _add_measuring(self, name: str) -> bool:
        """Add the node that measures a result; there is none where its evaluator was found wrong before."""
        written = self.workflow.passes[name].evaluator if name != SOURCE else None
        loc = ("passes", name, "evaluator") if written is not None else ("evaluator",)
        chosen = self._evaluator_of(name)
        if chosen is None:
            return False
        measuring = load(MEASURE)
        config = measuring.Config.model_validate({"evaluator": self._with_named_data(chosen)})
        if name != SOURCE:
            self._check_baseline(chosen, loc)
        compared = name != SOURCE and self.source is not None and _goals().needs_reference(chosen)
        self.nodes[f"{name}.metrics"] = Node(
            name=f"{name}.metrics",
            cls=measuring,
            pass_name=MEASURE,
            config=config,
            inputs=(name, SOURCE) if compared else (name,),
            system=self.nodes[name].system if name in self.nodes else self._system(None),
            role=Role.METRICS,
            kind=Metrics,
            written_at=loc,
        )
        return True

    def _evaluator_of(self, name: str) -> Evaluator | None:
        """What a node's result is measured by; the input model's, where something is compared with it."""
        written = self.workflow.passes[name].evaluator if name != SOURCE else None
        if name != SOURCE:
            return self._known_evaluator(written if written is not None else self.workflow.evaluator)
        named = [self.workflow.evaluator, *(entry.evaluator for entry in self.workflow.passes.values())]
        found = [known for one in named if (known := self._known_evaluator(one)) is not None]
        strategy = self.workflow.search_strategy
        bounded = strategy is not None and any(c.max_degradation is not None for c in strategy.constraints)
        wanted = self.workflow.evaluate_input_model or bounded
        return next((one for one in found if wanted or _goals().needs_baseline(one)), None)

    def _known_evaluator(self, chosen: Evaluator | str | None) -> Evaluator | None:
        if isinstance(chosen, str):
            self.used["evaluators"].add(chosen)
            return self.workflow.evaluators.get(chosen)
        return chosen

    def _check_baseline(self, evaluator: Evaluator, loc: tuple[Any, ...]) -> None:
        """What compares with the input model needs one, measured by the same metrics."""
        if self.source is None:
            if _goals().needs_reference(evaluator):
                self.problems.add("OL503", "a metric compares with the input model, and there is none", loc)
            if _goals().needs_baseline(evaluator):
                self.problems.add("OL503", "a goal compares with the input model, and there is none", loc)
            return
        baseline = self._evaluator_of(SOURCE)
        known = {f"{m.name}-{s.name}" for m in baseline.metrics for s in m.sub_types} if baseline else set()
        for name in _goals().compared_values(evaluator):
            if name not in known:
                message = f"the goal of {name} compares with the input model, which another evaluator measures"
                self.problems.add("OL503", message, loc, "Put the metric into the workflow's own `evaluator:` too.")

    def _with_named_data(self, evaluator: Any) -> Any:
        metrics = []
        for metric in evaluator.metrics:
            if isinstance(metric.data_config, str):
                self.used["data_configs"].add(metric.data_config)
                data = self.workflow.data_configs.get(metric.data_config)
                metric = metric.model_copy(update={"data_config": data})
            metrics.append(metric)
        return evaluator.model_copy(update={"metrics": metrics})

    # words

    def _say_cycle(self, cycle: list[str]) -> None:
        circle = " → ".join([*cycle, cycle[0]])
        marks = [(name, self.workflow.mark(("passes", name), key=True)) for name in cycle]
        lines = ", ".join(f"{name} at line {mark.line}" for name, mark in marks if mark)
        self.problems.add("OL204", f"passes wait for each other: {circle}", ("passes", cycle[0]), lines)

    def _say_unused(self, needed: set[str]) -> None:
        for name, node in self.nodes.items():
            if name not in needed and node.role is Role.PASS:
                self.problems.add("OL206", f"no output needs the pass `{name}`: it will not run", node.written_at)
        words = {"data_configs": "data set", "systems": "system", "evaluators": "evaluator"}
        for section, used in self.used.items():
            for name in getattr(self.workflow, section):
                if name not in used:
                    self.problems.add("OL206", f"nothing uses the {words[section]} `{name}`", (section, name))
