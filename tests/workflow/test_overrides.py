"""`--set`, and environment variables."""

from __future__ import annotations

import pytest

from olive_like.api import check
from olive_like.workflow.read import read

TREE = {
    "input_model": {"type": "HfModel", "model_path": "m"},
    "data_configs": [{"name": "train", "source": "rows"}],
    "passes": {"a": {"type": "Null", "bytes": 1}, "b": {"type": "Null", "config": {"bytes": 2}}},
}


def test_values_replace_those_of_the_file():
    workflow = read(
        TREE,
        ["passes.a.bytes=8", "passes.b.bytes=9", "passes.b.seconds=1e-3", "seed=5", "data_configs.train.split=test",
         "search_strategy.max_samples=3", "passes.a.fail=true", "passes.b.inputs=[input_model, a]"],
    ).require()  # fmt: skip
    assert workflow.passes["a"].config.bytes == 8
    assert workflow.passes["a"].config.fail is True
    assert workflow.passes["b"].config.bytes == 9
    assert workflow.passes["b"].config.seconds == 1e-3
    assert workflow.passes["b"].inputs == ("input_model", "a")
    assert workflow.data_configs["train"].split == "test"
    assert workflow.search_strategy.max_samples == 3
    assert workflow.seed == 5
    assert TREE["passes"]["a"]["bytes"] == 1, "what was given is not changed"


def test_values_are_typed_by_the_schema():
    workflow = read(TREE, ["input_model.revision=1234567", "passes.a.value=1234567", "passes.b.value='7'"]).require()
    assert workflow.input_model.revision == "1234567"
    assert workflow.passes["a"].config.value == 1234567
    assert workflow.passes["b"].config.value == "7"
    assert read(TREE, ["input_model.revision=true"]).require().input_model.revision == "true"


def test_a_list_is_indexed():
    workflow = read(TREE, ["data_configs[0].max_samples=3", "data_configs.0.split=x"]).require()
    assert (workflow.data_configs["train"].max_samples, workflow.data_configs["train"].split) == (3, "x")


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("passes.a", "OL014", "KEY=VALUE"),
        ("=3", "OL014", "KEY=VALUE"),
        ("passes..a.bytes=3", "OL014", "KEY=VALUE"),
        ("passes.a.bytes]=3", "OL014", "KEY=VALUE"),
        ("passes.aa.bytes=3", "OL014", "Did you mean `a`"),
        ("pases.a.bytes=3", "OL014", "Did you mean `passes`"),
        ("data_configs.trian.split=x", "OL014", "Did you mean `train`"),
        ("data_configs[7]=x", "OL014", "no entry"),
        ("passes.a.bytes.x=3", "OL014", "no `bytes`"),
        ("passes.a.bites=3", "OL101", "Did you mean `bytes`"),
        ("seeed=3", "OL101", "Did you mean `seed`"),
        ("passes.a.bytes=many", "OL103", "--set passes.a.bytes=many"),
        ("passes.a.bytes=-3", "OL105", "--set passes.a.bytes=-3"),
        ("passes.a.fail=yes", "OL014", "true"),
        ("passes.a.bytes=[1", "OL014", "YAML"),
        ("passes.a.seconds=.inf", "OL014", "finite"),
    ],
)
def test_what_cannot_be_set(override, code, words):
    result = read(TREE, [override])
    assert result.workflow is None
    problem = result.diagnostics[0]
    assert problem.code == code
    assert words in problem.message + problem.hint


def test_overrides_reach_a_file_as_it_is_written(tmp_path):
    path = tmp_path / "w.json"
    path.write_text('{"passes": {"a": {"type": "Null", "bytes": 1}}}')
    assert read(path, ["passes.a.bytes=4"]).require().passes["a"].config.bytes == 4
    (problem,) = read(path, ["passes.a.bytes=x"]).diagnostics
    assert (problem.line, problem.file) == (1, str(path))


def test_variables_are_expanded_where_paths_stand(monkeypatch, tmp_path):
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.delenv("NOTHING", raising=False)
    workflow = read(
        {
            "input_model": {"type": "HfModel", "model_path": "${PLACE}/model", "task": "${PLACE}"},
            "data_configs": [{"name": "d", "source": "${PLACE}/rows.json", "text_template": "${PLACE} {x}"}],
            "cache_dir": "${NOTHING:-cache}/${NOTHING:-}x",
            "output_dir": "${PLACE}",
            "passes": {"a": {"type": "Null", "value": "${PLACE}"}},
        }
    ).require()
    assert workflow.input_model.model_path == f"{tmp_path}/model"
    assert workflow.data_configs["d"].source == f"{tmp_path}/rows.json"
    assert (workflow.cache_dir, workflow.output_dir) == ("cache/x", str(tmp_path))
    assert workflow.input_model.task == "${PLACE}", "not a path"
    assert workflow.data_configs["d"].text_template == "${PLACE} {x}"
    assert workflow.passes["a"].config.value == "${PLACE}"


def test_an_unset_variable_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTHING", raising=False)
    path = tmp_path / "w.yaml"
    path.write_text("passes: {}\noutput_dir: ${NOTHING}/x\ninput_model: {type: HfModel, model_path: '${NOTHING}'}\n")
    problems = read(path).diagnostics
    assert [(d.code, d.line, d.column) for d in problems] == [("OL013", 2, 13), ("OL013", 3, 42)]
    assert "NOTHING" in problems[0].message


def test_values_of_variables_are_not_shown(monkeypatch, tmp_path):
    from olive_like.diagnostics.render import render
    from olive_like.graph.check import diagnose

    monkeypatch.setenv("PLACE", "/very/private")
    path = tmp_path / "w.yaml"
    path.write_text(
        "input_model: {type: OnnxModel, model_path: '${PLACE}/model.onnx'}\n"
        "data_configs: [{name: d, source: '${PLACE}/rows.json'}]\npasses: {}\n"
    )
    diagnostics = diagnose(read(path))
    assert [d.code for d in diagnostics if d.severity == "error"] == ["OL402", "OL401"]
    assert "/very/private" not in render(diagnostics) + str(diagnostics)
    assert "${PLACE}/model.onnx" in render(diagnostics)


def test_variables_are_expanded_in_data_and_code_that_are_written_in_place(monkeypatch, tmp_path):
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.delenv("NOTHING", raising=False)
    metric = {"name": "m", "type": "custom", "user_config": {"user_script": "${PLACE}/m.py", "evaluate_func": "f"}}
    tree = {
        "input_model": {"type": "HfModel", "model_path": str(tmp_path)},
        "passes": {
            "a": {
                "type": "LoRA",
                "train_data_config": {"source": "${PLACE}/rows.jsonl"},
                "evaluator": {"metrics": [metric]},
            }
        },
    }
    entry = read(tree).require().passes["a"]
    assert entry.config.train_data_config.source == f"{tmp_path}/rows.jsonl"
    assert entry.evaluator.metrics[0].user_config.user_script == tmp_path / "m.py"
    tree["passes"]["a"]["train_data_config"]["source"] = "${NOTHING}/x"
    (problem,) = read(tree).diagnostics
    assert (problem.code, problem.field) == ("OL013", "passes.a.train_data_config.source")


@pytest.mark.parametrize("written", ["~nobody-at-all/x.jsonl", "~"])
def test_a_home_that_is_not_there_is_a_path_like_others(written):
    found = check({"input_model": {"type": "Null"}, "data_configs": {"d": {"source": written}}, "passes": {}})
    assert {d.code for d in found.diagnostics} >= {"OL206"}


def test_files_of_alternatives_evaluators_in_place_and_systems_must_be_there(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(
        "input_model: {type: 'Null'}\nevaluators: {s: {metrics: [size_on_disk]}}\nevaluator: s\n"
        "systems: {d: {type: deepspeed, ds_config: ds.json}}\nsystem: d\npasses:\n"
        "  a:\n  - {type: 'Null'}\n  - {type: 'Null', evaluator: {metrics: ['mine.py:score']}}\n"
    )
    assert [(d.code, d.line) for d in check(file).diagnostics if d.severity == "error"] == [("OL401", 4), ("OL401", 9)]
