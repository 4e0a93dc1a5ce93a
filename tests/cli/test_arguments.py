"""Numbers on the command line of `run`, and runs named on that of `diff`."""

from __future__ import annotations

import json

import pytest

from olive_like.cli import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--jobs", "0"], "from 1 on, not '0'"),
        (["--jobs", "many"], "from 1 on, not 'many'"),
        (["--retries", "-1"], "from 0 on, not '-1'"),
        (["--timeout", "-1"], "above 0, not '-1'"),
        (["--timeout", "nan"], "above 0, not 'nan'"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(capsys, arguments, words):
    assert main(["run", "flow.yaml", *arguments]) == 2
    assert words in capsys.readouterr().err.splitlines()[0]


def test_diff_takes_the_last_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.yaml").write_text("input_model: {type: Null}\npasses: {a: {type: Null}}\n")
    cache = ["--cache-dir", "cache"]
    assert main(["run", "flow.yaml", "--json", "--in-process", *cache]) == 0
    first = json.loads(capsys.readouterr().out)["run"]
    assert main(["run", "flow.yaml", "--set", "passes.a.bytes=3", "--in-process", *cache]) == 0
    assert main(["diff", first, "last", *cache]) == 0
    assert "a: the setting bytes changed: 64 → 3" in capsys.readouterr().out
    assert main(["diff", *cache]) == 0
    assert "a: the setting bytes changed: 64 → 3" in capsys.readouterr().out
    assert main(["diff", "nothing", "last", *cache]) != 0
    assert "there is no run 'nothing'" in capsys.readouterr().err


def test_an_interrupted_command_says_so_in_one_line(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("olive_like.cli.check.execute", interrupted)
    assert main(["check", "flow.yaml"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
