"""A pass of another package that cannot be loaded: the lists go on without it, and name it."""

from __future__ import annotations

import json

import pytest

from olive_like.api import check
from olive_like.cli import main
from olive_like.passes import registry
from olive_like.systems import registry as systems
from olive_like.systems.doctor import systems as examined


@pytest.fixture
def _broken(tmp_path, monkeypatch):
    info = tmp_path / "torn_passes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torn-passes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[olive_like.passes]\nTorn = torn_passes:Torn\n[olive_like.systems]\nwreck = torn_passes:Wreck\n"
    )
    (tmp_path / "torn_passes.py").write_text("import a_library_that_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for room in (registry, systems):
        room._plugins.cache_clear()
        room.load.cache_clear()
    yield
    for room in (registry, systems):
        room._plugins.cache_clear()
        room.load.cache_clear()


@pytest.mark.usefixtures("_broken")
@pytest.mark.parametrize("command", [["passes"], ["passes", "--json"], ["schema"]])
def test_the_rest_is_listed_and_it_is_named(command, capsys):
    assert main(command) == 1
    told = capsys.readouterr()
    assert "OnnxConversion" in told.out
    assert "Torn" not in told.out
    if command != ["passes"]:
        json.loads(told.out)
    assert "the pass Torn of the package torn-passes cannot be loaded: ModuleNotFoundError" in told.err


@pytest.mark.usefixtures("_broken")
def test_a_workflow_that_uses_it_is_told_where():
    step = {"type": "Torn", "user_script": "x.py"}
    tree = {"input_model": {"type": "Null"}, "passes": {"a": step}, "search_space": {"value": {"choice": [1, 2]}}}
    found = {d.code: d for d in check(tree).diagnostics}
    assert "torn-passes" in found["OL107"].message


@pytest.mark.usefixtures("_broken")
def test_hints_go_on_without_it():
    passes = {"a": {"type": "Null"}, "b": {"type": "OnnxDynamicQuantization"}}
    (problem,) = check({"input_model": {"type": "Null"}, "passes": passes}).diagnostics
    assert problem.code == "OL203"


@pytest.mark.usefixtures("_broken")
@pytest.mark.parametrize("command", [["systems"], ["systems", "--json"], ["schema"]])
def test_the_other_systems_are_listed_and_it_is_named(command, capsys):
    assert main(command) == 1
    told = capsys.readouterr()
    assert "torchrun" in told.out
    assert "wreck" not in told.out
    assert "the system wreck of the package torn-passes cannot be loaded: ModuleNotFoundError" in told.err


@pytest.mark.usefixtures("_broken")
def test_a_workflow_with_its_system_is_told_where():
    flow = {"input_model": {"type": "Null"}, "passes": {"a": {"type": "Null"}}, "systems": {"s": {"type": "wreck"}}}
    found = {d.code: d for d in check(flow).diagnostics}
    assert "torn-passes" in found["OL108"].message
    assert found["OL108"].field == "systems.s.type"
    assert not examined()["wreck"]["works"]
