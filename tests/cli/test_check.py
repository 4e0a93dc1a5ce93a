"""`check` and `explain CODE`, whole outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from olive_like.cli import main

EIGHT = """\
input_model: {type: Null}
systems:
  box: {type: lokal}
passes:
  one: {type: Null, bites: 10}
  two: {type: Nul}
  three: {type: Null, bytes: ten}
  four: {type: Null, bytes: -1, fail: yes}
  five: {type: Null, input: oen}
  six: {type: Null, system: bax}
sead: 3
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eight.yaml").write_text(EIGHT)
    (tmp_path / "good.yaml").write_text("input_model: {type: Null}\npasses:\n  a: {type: Null}\n")


def test_mistakes_as_text(capsys, snapshot):
    assert main(["check", "eight.yaml"]) == 2
    assert capsys.readouterr().out == snapshot


def test_mistakes_as_json(capsys, snapshot):
    assert main(["check", "eight.yaml", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert {"code", "severity", "message", "file", "line", "column", "hint"} <= set(document["diagnostics"][0])
    assert document == snapshot


def test_a_good_file(capsys):
    assert main(["check", "good.yaml"]) == 0
    assert capsys.readouterr().out == "good.yaml: nothing wrong\n"
    assert main(["check", "good.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "diagnostics": []}


def test_overrides(capsys):
    assert main(["check", "good.yaml", "--set", "passes.a.bytes=3"]) == 0
    assert main(["check", "good.yaml", "--set", "passes.a.bytes=x"]) == 2
    assert "--set passes.a.bytes=x" in capsys.readouterr().out


def test_a_file_that_is_not_there(capsys):
    assert main(["check", "nothing.yaml"]) == 2
    assert "cannot read nothing.yaml" in capsys.readouterr().out


def test_json_is_printable_under_any_locale(tmp_path):
    (tmp_path / "w.yaml").write_text("pässe: {}\n", encoding="utf-8")
    for arguments in (["check", "w.yaml", "--json"], ["check", "w.yaml"], ["explain", "OL101"]):
        result = subprocess.run(
            [sys.executable, "-c", "from olive_like.cli import main; raise SystemExit(main())", *arguments],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
            check=False,
        )
        assert result.returncode == (2 if arguments[0] == "check" else 0)
        assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("code", ["OL101", "OL008", "ol111"])
def test_pages(code, capsys, snapshot):
    assert main(["explain", code]) == 0
    assert capsys.readouterr().out == snapshot


def test_an_unknown_code(capsys):
    assert main(["explain", "OL999"]) == 2
    assert "there is no code OL999" in capsys.readouterr().err
    assert main(["explain", "good.yaml"]) == 2
    assert "name of a pass" in capsys.readouterr().err


def test_a_page_as_json(capsys):
    assert main(["explain", "OL101", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == "OL101"
