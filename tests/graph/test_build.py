"""From passes to a graph, and what keeps them from being one."""

from pathlib import Path

import pytest

from olive_like.api import check
from olive_like.graph.model import Role
from olive_like.graph.planning import graph_of
from olive_like.workflow.read import read

CHAIN = """
input_model: {type: Null}
passes:
  a: {type: Null}
  b: {type: Null}
  c: {type: Null}
"""


def test_a_pass_follows_the_one_above(planned):
    graph = planned(CHAIN).graph
    assert {name: node.inputs for name, node in graph.nodes.items()} == {
        "a": ("input_model",), "b": ("a",), "c": ("b",),
    }  # fmt: skip
    assert graph.outputs == {"c": "c"}


def test_branches_and_joins(planned):
    graph = planned(
        """
        input_model: {type: Null}
        passes:
          join: {type: Null, inputs: [left, right]}
          left: {type: Null, input: base}
          right: {type: Null, input: base}
          base: {type: Null, input: input_model}
        """
    ).graph
    assert next(iter(graph.nodes)) == "base"
    assert list(graph.nodes)[-1] == "join"
    assert graph.outputs == {"join": "join"}
    assert graph.descendants("left") == ["join"]
    assert set(graph.ancestors("join")) == {"base", "left", "right"}


def test_every_leaf_is_an_output(planned):
    graph = planned(CHAIN + "  d: {type: Null, input: a}\n").graph
    assert graph.outputs == {"c": "c", "d": "d"}


def test_what_no_output_needs_does_not_run(planned):
    graph = planned(CHAIN + "outputs: {best: b}\n").graph
    assert list(graph.nodes) == ["a", "b"]
    assert graph.outputs == {"best": "b"}


def test_until_leaves_out_the_rest(planned):
    plan = planned(CHAIN, until="b")
    assert list(plan.nodes) == ["a", "b"]
    assert plan.graph.outputs == {"b": "b"}


def test_an_unknown_input_has_the_nearest_name(problems_of):
    (problem,) = problems_of(
        "input_model: {type: Null}\npasses:\n  lora: {type: Null}\n  b: {type: Null, input: lra}\n"
    )
    assert (problem.code, problem.line) == ("OL201", 4)
    assert "lora" in problem.hint


def test_the_shortest_cycle_is_shown_with_its_lines(problems_of):
    (problem,) = problems_of(
        "passes:\n  a: {type: Null, input: d}\n  b: {type: Null, input: a}\n  c: {type: Null, input: b}\n"
        "  d: {type: Null, inputs: [c, b]}\n"
    )
    assert problem.code == "OL204"
    assert "a → b → d → a" in problem.message
    assert "a at line 2" in problem.hint
    assert "d at line 5" in problem.hint


def test_a_pass_that_waits_for_itself(problems_of):
    (problem,) = problems_of("passes:\n  a: {type: Null, input: a}\n")
    assert problem.code == "OL204"


def test_kinds_are_checked_along_every_edge(problems_of):
    (problem,) = problems_of(
        "input_model: {type: Null}\npasses:\n  a: {type: Null}\n  b: {type: OnnxDynamicQuantization}\n"
    )
    assert (problem.code, problem.line) == ("OL203", 4)
    assert "takes onnx_model" in problem.message
    assert "a makes null" in problem.message


def test_a_kind_mismatch_names_the_pass_that_bridges_it(problems_of, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    (problem,) = problems_of(
        "input_model: {type: HfModel, model_path: ./m}\npasses:\n  int8: {type: OnnxDynamicQuantization}\n"
    )
    assert problem.code == "OL203"
    assert "OnnxConversion" in problem.hint


def test_a_missing_input_model(problems_of):
    (problem,) = problems_of("passes:\n  int8: {type: OnnxDynamicQuantization}\n")
    assert problem.code == "OL208"


def test_a_single_data_set_is_taken_without_asking(planned, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    graph = planned(
        """
        input_model: {type: HfModel, model_path: ./m}
        data_configs: [{name: rows, source: rows.jsonl}]
        passes:
          lora: {type: LoRA}
        """
    ).graph
    assert list(graph.nodes) == ["lora.train_data", "lora"]
    assert graph.nodes["lora.train_data"].role is Role.DATA
    assert graph.nodes["lora"].data == {"train_data_config": "lora.train_data"}


def test_a_workflow_that_does_nothing_is_told() -> None:
    found = check({"input_model": {"type": "Null"}, "passes": {}}).diagnostics
    assert [(d.code, d.severity) for d in found] == [("OL210", "warning")]
    assert not check({"input_model": {"type": "Null"}, "passes": {}, "outputs": ["input_model"]}).diagnostics


MEASURED = """
input_model: {type: OnnxModel, model_path: model.onnx}
data_configs: [{name: rows, source: rows.jsonl}]
evaluators:
  sizes: {metrics: [size_on_disk]}
  words: {metrics: [perplexity], data_config: rows}
passes:
  ev: {type: Evaluate, EVALUATOR}
"""


@pytest.mark.parametrize(
    ("evaluator", "measured", "data"),
    [
        ("evaluator: sizes", "size_on_disk", None),
        ("evaluator: {metrics: [size_on_disk]}", "size_on_disk", None),
        ("evaluator: words", "perplexity", "rows"),
        ("evaluator: {metrics: [{name: m, type: accuracy, data_config: rows}]}", "m", "rows"),
        ("config: {evaluator: {metrics: [perplexity], data_config: rows}}", "perplexity", "rows"),
    ],
)
def test_a_written_measurement_has_its_evaluator(tmp_path, evaluator, measured, data):
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "model.onnx").write_bytes(b"not looked into")
    (tmp_path / "flow.yaml").write_text(MEASURED.replace("EVALUATOR", evaluator))
    (metric,) = graph_of(read(tmp_path / "flow.yaml").require()).nodes["ev"].config.evaluator.metrics
    assert metric.name == measured
    assert (Path(metric.data_config.source).stem if metric.data_config else None) == data


def test_a_measurement_of_nothing_is_refused(problems_of):
    (problem,) = problems_of("input_model: {type: Null}\npasses:\n  ev: {type: Evaluate}\n")
    assert problem.code == "OL508"
    assert problem.line == 3


def test_data_of_an_evaluator_written_in_place_must_be_there(problems_of):
    problems = problems_of(MEASURED.replace("EVALUATOR", "evaluator: {metrics: [perplexity], data_config: row}"))
    (problem,) = [p for p in problems if p.code == "OL110"]
    assert "rows" in problem.hint


OPEN = """
input_model: {type: HfModel, model_path: ./m}
data_configs: [{name: small, rows: [{text: a}]}, {name: big, rows: [{text: b}]}]
evaluators: {sizes: {metrics: [size_on_disk]}, others: {metrics: [size_on_disk]}}
evaluator: sizes
passes:
  lora:
    - {type: LoRA, train_data_config: {choice: [small, BIG]}}
    - {type: DoRA, train_data_config: small, evaluator: others}
"""


def test_what_another_point_of_a_search_uses_is_looked_up_and_in_use(tmp_path):
    (tmp_path / "m").mkdir()
    file = tmp_path / "flow.yaml"
    file.write_text(OPEN.replace("BIG", "big"))
    assert not check(file).diagnostics
    file.write_text(OPEN.replace("BIG", "bgi"))
    (wrong,) = [d for d in check(file).diagnostics if d.severity == "error"]
    assert (wrong.code, wrong.field) == ("OL110", "passes.lora[0].train_data_config.choice[1]")
    assert "big" in wrong.hint


def test_an_output_that_is_named_twice_is_said():
    tree = {"input_model": {"type": "Null"}, "passes": {"a": {"type": "Null"}}, "outputs": ["a", "a"]}
    assert [(d.code, d.field) for d in check(tree).diagnostics] == [("OL113", "outputs[1]")]


def test_an_input_model_that_nothing_measures_is_said():
    tree = {"input_model": {"type": "Null"}, "passes": {"a": {"type": "Null"}}, "evaluate_input_model": True}
    assert [(d.code, d.field) for d in check(tree).diagnostics] == [("OL206", "evaluate_input_model")]
