"""What may stand in a workflow, and what is said about what may not."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from olive_like import Workflow
from olive_like.errors import WorkflowError
from olive_like.graph.check import diagnose
from olive_like.workflow.read import read


def write(tmp_path: Path, text: str, name: str = "w.yaml") -> Path:
    path = tmp_path / name
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    return path


def found(tmp_path, text, **options):
    """Code, line, column and near name of each problem."""
    diagnostics = diagnose(read(write(tmp_path, text)), **options)
    return [(d.code, d.line, d.column, near(d.hint)) for d in diagnostics if d.severity == "error"]


def near(hint: str) -> str | None:
    return hint.split("`")[1] if hint.startswith("Did you mean") else None


GOOD = """
input_model: {type: Null, value: 3}
data_configs:
  - {name: train, source: rows.jsonl}
systems:
  box: {type: local, slots: 2, memory: 4GB}
evaluators:
  quick:
    metrics:
      - {name: size, type: size_on_disk}
passes:
  first: {type: Null, bytes: 10}
  second:
    type: "null"
    config: {bytes: 20}
    input: first
    system: box
  both: {type: Null, inputs: [first, second], evaluator: quick}
search_strategy: {sampler: random, max_samples: 3}
outputs: {result: both}
seed: 7
output_dir: out
"""


def test_a_whole_workflow(tmp_path):
    result = read(write(tmp_path, GOOD))
    assert [d for d in result.diagnostics if d.severity == "error"] == []
    workflow = result.require()
    assert workflow.input_model.value == 3
    assert list(workflow.data_configs) == ["train"]
    assert workflow.systems["box"].config.memory == 4 << 30
    assert workflow.evaluators["quick"].metrics[0].type == "size_on_disk"
    assert [(p.name, p.type, p.inputs, p.system) for p in workflow.passes.values()] == [
        ("first", "Null", None, None),
        ("second", "Null", ("first",), "box"),
        ("both", "Null", ("first", "second"), None),
    ]
    assert workflow.passes["second"].config.bytes == 20
    assert workflow.search_strategy.max_samples == 3
    assert workflow.outputs == {"result": "both"}
    assert (workflow.seed, workflow.resolve(workflow.output_dir)) == (7, tmp_path / "out")


def test_json_and_python_say_the_same(tmp_path):
    import json

    from olive_like.workflow.loader import load
    from olive_like.workflow.located import plain

    data = plain(load(write(tmp_path, GOOD)).tree)
    from_yaml = read(tmp_path / "w.yaml").require()
    from_json = read(write(tmp_path, json.dumps(data), "w.json")).require()
    from_python = Workflow(**data)
    for other in (from_json, from_python):
        for name in type(from_yaml).model_fields:
            if name != "data_configs":  # holds absolute paths, below different folders
                assert repr(getattr(other, name)) == repr(getattr(from_yaml, name))


EIGHT = """
input_model: {type: Null}
systems:
  box: {type: lokal}
passes:
  a: {type: Null, bites: 10}
  b: {type: Nul}
  c: {type: Null, bytes: ten}
  d: {type: Null, bytes: -1}
  e: {type: Null, input: aa}
  f: {type: Null, system: bax}
  g: {type: OnnxDynamicQuantization, precision: int9, input: input_model}
sead: 3
"""


def test_every_mistake_in_one_call_each_at_its_place(tmp_path):
    assert found(tmp_path, EIGHT) == [
        ("OL108", 3, 15, "local"),
        ("OL101", 5, 19, "bytes"),
        ("OL107", 6, 13, "Null"),
        ("OL103", 7, 26, None),
        ("OL105", 8, 26, None),
        ("OL201", 9, 26, "a"),
        ("OL110", 10, 27, "box"),
        ("OL203", 11, 6, None),
        ("OL104", 11, 49, "int8"),
        ("OL101", 12, 1, "seed"),
    ]


def test_python_raises_with_every_mistake():
    with pytest.raises(WorkflowError) as caught:
        Workflow(input_model={"type": "Null"}, passes={"a": {"type": "Null", "bites": 1}, "b": {"type": "Nul"}}, sead=1)
    assert [(d.code, d.field) for d in caught.value.diagnostics] == [
        ("OL101", "sead"), ("OL101", "passes.a.bites"), ("OL107", "passes.b.type"),
    ]  # fmt: skip
    assert caught.value.exit_code == 2
    assert "2 more" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("passes: {a: {}}", [("OL102", 1, 10, None)]),
        ("passes: {a: }", [("OL102", 1, 10, None)]),
        ("passes: {a: {typ: Null}}", [("OL101", 1, 14, "type")]),
        ("passes: {a: 3}", [("OL103", 1, 13, None)]),
        ("passes: {a: {type: Null, bytes: true}}", [("OL103", 1, 33, None)]),
        ("passes: [a]", [("OL103", 1, 9, None)]),
        ("passes: {a: []}", [("OL102", 1, 13, None)]),
        ("passes: {a: {type: 3}}", [("OL103", 1, 20, None)]),
        ("passes: {a/b: {type: Null}}", [("OL112", 1, 10, None)]),
        ("passes: {input_model: {type: Null}}", [("OL112", 1, 10, None)]),
        ("passes: {a: {type: Null, config: {bytes: 1, sekonds: 2}}}", [("OL101", 1, 45, "seconds")]),
        ("passes: {a: {type: Null, config: {bytes: 1}, bytes: 2}}", [("OL005", 1, 35, None)]),
        ("passes: {a: {type: Null, config: 3}}", [("OL103", 1, 34, None)]),
        ("passes: {a: {type: Null, input: x, inputs: [y]}}", [("OL106", 1, 36, None), ("OL201", 1, 33, None)]),
        ("passes: {a: {type: Null, inputs: {b: c}}}", [("OL103", 1, 34, None)]),
        ("passes: {a: {type: Null, evaluator: fast}}", [("OL110", 1, 37, None)]),
        ("passes: {a: {type: Null, evaluator: {metricks: []}}}", [("OL101", 1, 38, "metrics")]),
        ("passes: {a: {type: Null, fail: 3}}", [("OL103", 1, 32, None)]),
        ("passes: {a: [{type: Null}, {type: Null, bytes: x}]}", [("OL505", 1, 10, None), ("OL103", 1, 48, None)]),
        ("input_model: {type: HfModle, model_path: x}", [("OL109", 1, 21, "HfModel")]),
        ("input_model: {type: HfModel}", [("OL102", 1, 1, None)]),
        ("input_model: {type: HfModel, model_path: x, taks: y}", [("OL101", 1, 45, "task")]),
        ("input_model: gpt2", [("OL103", 1, 14, None)]),
        ("data_configs: [{source: x}]", [("OL102", 1, 16, None)]),
        ("data_configs: [{name: a}, {name: a}]", [("OL113", 1, 34, None)]),
        ("data_configs: {a: {split: 3}}", [("OL103", 1, 27, None)]),
        ("systems: {a: {}}", [("OL102", 1, 11, None)]),
        ("systems: {a: {type: local, config: {slotz: 2}}}", [("OL101", 1, 37, "slots")]),
        ("systems: {a: {type: local, config: {slots: x}}}", [("OL103", 1, 44, None)]),
        ("data_configs: {a: {name: b}}", [("OL106", 1, 26, None)]),
        ("systems: {a: {type: local, slotz: 2}}", [("OL101", 1, 28, "slots")]),
        ("systems: {a: {type: local, memory: much}}", [("OL106", 1, 36, None)]),
        ("evaluators: {a: {metrics: [{name: x}]}}", [("OL102", 1, 28, None)]),
        ("evaluators: {a: {metrics: [{name: x, type: latensy}]}}", [("OL104", 1, 44, "latency")]),
        ("evaluators: {a: {metrics: [{name: x, type: latency, data_config: y}]}}", [("OL110", 1, 66, None)]),
        ("outputs: [x]\npasses: {y: {type: Null}}", [("OL110", 1, 11, None)]),
        ("outputs: {x: 3}\npasses: {y: {type: Null}}", [("OL103", 1, 14, None)]),
        ("seed: x", [("OL103", 1, 7, None)]),
        ("seed: -1", [("OL105", 1, 7, None)]),
        ("evaluator: fast", [("OL110", 1, 12, None)]),
        ("search_strategy: {sampler: rendom}", [("OL104", 1, 28, "random")]),
        ("search_strategy: {max_samples: 0}", [("OL105", 1, 32, None)]),
        ("search_strategy: 3", [("OL103", 1, 18, None)]),
    ],
)
def test_mistakes(tmp_path, text, expected):
    assert sorted(found(tmp_path, text)) == sorted(expected)


def test_a_union_is_one_problem_that_says_all_it_takes(tmp_path):
    path = write(tmp_path, "passes: {a: {type: Null, value: [1]}}")
    (problem,) = read(path).diagnostics
    assert problem.message == "`value` takes text or a whole number or a number or true or false, not a list"


def test_an_unknown_key_inside_of_a_union_is_found(tmp_path):
    text = "passes: {a: {type: OnnxStaticQuantization, data_config: {sorce: x}}}"
    assert ("OL101", 1, 58, "source") in found(tmp_path, text)


def test_numbers_of_settings_are_finite():
    for value in (float("nan"), float("inf"), "nan", "inf"):
        with pytest.raises(WorkflowError, match="seconds"):
            Workflow(passes={"a": {"type": "Null", "seconds": value}})


def test_one_broken_part_does_not_hide_or_invent_another(tmp_path):
    text = """
    input_model: {type: OnnxModel, model_path: m.onnx}
    passes:
      a: {type: OnnxDynamicQuantization, precision: int9}
      b: {type: OnnxDynamicQuantization}
      c: {type: Gptq}
    outputs: [b, nope]
    """
    assert found(tmp_path, text, files=False) == [
        ("OL104", 3, 49, "int8"), ("OL203", 5, 6, None), ("OL110", 6, 14, None),
    ]  # fmt: skip


def test_relative_paths_count_from_the_file(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "work" / "model").mkdir()
    path = write(tmp_path / "work", "input_model: {type: HfModel, model_path: model}\npasses: {}")
    monkeypatch.chdir(tmp_path / "elsewhere")
    workflow = read(path).require()
    assert workflow.base_dir == tmp_path / "work"
    assert workflow.input_model.folder(workflow.base_dir) == tmp_path / "work" / "model"


def test_a_local_folder_comes_before_a_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = read({"input_model": {"type": "HfModel", "model_path": "org/name"}}).require().input_model
    assert model.folder(tmp_path) is None
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert model.folder(tmp_path) == tmp_path / "org" / "name"
    assert model.folder(tmp_path / "elsewhere") == tmp_path / "org" / "name", "then the current folder's"


@pytest.mark.parametrize("name", ["./x", "../x", "~/x", "a/b/c", "x.onnx", "/x/y", "a/"])
def test_what_can_only_be_a_path_is_one(tmp_path, name):
    model = read({"input_model": {"type": "HfModel", "model_path": name}}).require().input_model
    assert model.folder(tmp_path) is not None


def test_missing_files_are_named_with_the_near_one(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}")
    text = """
    input_model: {type: OnnxModel, model_path: model.onnx}
    data_configs:
      - name: train
        source: rosw.jsonl
      - name: other
        source: no/where/x.json
    passes: {}
    """
    assert found(tmp_path, text) == [
        ("OL402", 1, 44, None), ("OL401", 4, 13, "rows.jsonl"), ("OL401", 6, 13, None),
    ]  # fmt: skip
    assert found(tmp_path, text, files=False) == []


def test_systems_may_be_named_by_their_type():
    workflow = read({"passes": {"a": {"type": "Null", "system": "null"}}, "system": "local"}).require()
    assert workflow.passes["a"].system == "null"


def test_a_name_that_is_no_text_cannot_be_one():
    with pytest.raises(WorkflowError, match="1 cannot be a name"):
        Workflow(passes={1: {"type": "Null"}})
