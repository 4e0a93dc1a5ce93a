"""`passes`, `systems` and `schema`."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from olive_like.cli import main
from olive_like.passes import registry as passes
from olive_like.systems import registry as systems
from olive_like.workflow.json_schema import as_text, workflow_schema
from olive_like.workflow.loader import loads
from olive_like.workflow.read import read

COMMITTED = Path(__file__).parents[2] / "docs" / "schema" / "workflow.json"


def output(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", [["passes", "null"], ["systems", "null"]])
def test_a_description(command, capsys, snapshot):
    assert output(capsys, *command) == snapshot


def test_all_passes_are_listed_with_what_they_do(capsys):
    text = output(capsys, "passes")
    for name in passes.names():
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {name} ")]
        assert passes.doc(passes.load(name)) in line
        assert ("cannot run yet" in line) == (not passes.load(name).available())


@pytest.mark.parametrize("name", passes.names())
def test_every_pass_is_documented(name, capsys):
    text = output(capsys, "passes", name)
    assert text.startswith(f"{name}: {passes.doc(passes.load(name))}")
    for setting in passes.load(name).Config.model_fields.values():
        assert setting.description, "every setting says what it does"
    described = json.loads(output(capsys, "passes", name, "--json"))
    assert described["name"] == name
    assert set(described["settings"].get("properties", {})) >= set(passes.load(name).Config.model_fields)


@pytest.mark.parametrize("name", systems.names())
def test_every_system_is_documented(name, capsys):
    assert output(capsys, "systems", name).startswith(f"{name}: ")
    assert name in output(capsys, "systems")
    for setting in systems.load(name).Config.model_fields.values():
        assert setting.description
    assert json.loads(output(capsys, "systems", name, "--json"))["name"] == name


def test_lists_as_json(capsys):
    assert [entry["name"] for entry in json.loads(output(capsys, "passes", "--json"))] == passes.names()
    assert [entry["name"] for entry in json.loads(output(capsys, "systems", "--json"))] == systems.names()


@pytest.mark.parametrize(("command", "near"), [(["passes", "Nul"], "Null"), (["systems", "lokal"], "local")])
def test_a_near_name(command, near, capsys):
    assert main(command) == 2
    assert f"Did you mean `{near}`?" in capsys.readouterr().err


def test_the_committed_schema_is_current():
    assert COMMITTED.read_text(encoding="utf-8") == as_text(), "run `make schema`"


def test_the_schema_is_printed(capsys, tmp_path):
    assert output(capsys, "schema") == as_text()
    output(capsys, "schema", "--output", str(tmp_path / "s.json"))
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == as_text()


@pytest.fixture(scope="module")
def validator():
    schema = workflow_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("passes: {a: {type: Null, bytes: 3, input: input_model}}", True),
        ("passes: {a: {type: Null, bytes: {choice: [3, 4]}}}", True),
        ("passes: {a: [{type: Null}, {type: Null, bytes: 2}]}", True),
        ("passes: {a: {type: LoRA, r: 8, train_data_config: train}}", True),
        ("data_configs: {train: {source: x.json, max_samples: 3}}", True),
        ("data_configs: [{name: train, source: x.json}]", True),
        ("systems: {box: {type: local, slots: 2, memory: 8GB}}", True),
        ("evaluators: {e: {metrics: [{name: x, type: latency, sub_types: [{name: avg}]}]}}", True),
        ("search_strategy: {sampler: random, max_samples: 3}", True),
        ("outputs: {x: a}", True),
        ("input_model: {type: HfModel, model_path: x}\nseed: 3\noutput_dir: o", True),
        ("passes: {a: {type: Null, bites: 3}}", False),
        ("passes: {a: {type: Null, bytes: x}}", False),
        ("passes: {a: {type: Nul}}", False),
        ("passes: {a: {bytes: 3}}", False),
        ("systems: {box: {type: local, slotz: 2}}", False),
        ("systems: {box: {type: lokal}}", False),
        ("input_model: {type: HfModel}", False),
        ("input_model: {type: OnnxModel, model_path: x, taks: y}", False),
        ("data_configs: {train: {sorce: x.json}}", False),
        ("search_strategy: {sampler: rendom}", False),
        ("seed: x", False),
        ("sead: 3", False),
    ],
)
def test_the_schema_agrees_with_the_checks(validator, text, good):
    tree = loads(text, "x.yaml").tree
    assert validator.is_valid(tree) is good
    # Whether a name refers to something is not a matter of the schema.
    wrong = any(d.severity == "error" and d.code != "OL110" for d in read(tree).diagnostics)
    assert wrong is not good
