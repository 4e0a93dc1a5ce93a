"""Tiny models, optimised for this CPU, that reach their goals."""

from __future__ import annotations

import json

import pytest

from olive_like.cli import main
from tests import tiny_models

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize(
    ("make", "precision", "goals"),
    [
        (tiny_models.tiny_llama, "int4", ["size_on_disk=700000"]),
        (tiny_models.tiny_bert, "int8", ["size_on_disk=400000", "latency=1000"]),
        (tiny_models.tiny_vit, "fp16", ["size_on_disk=400000"]),
    ],
)
def test_it_runs_and_reaches_its_goals(tmp_path, capfd, make, precision, goals):
    model = make(tmp_path / "model")
    arguments = [part for goal in goals for part in ("--goal", goal)]
    code = main(
        ["optimize", "-m", str(model.path), "--precision", precision, "--cache-dir", str(tmp_path / "cache"),
         "-o", str(tmp_path / "out"), "--json", *arguments]
    )  # fmt: skip
    result = json.loads(capfd.readouterr().out.splitlines()[-1])  # making the model may print, too
    assert code == 0, result
    assert len(result["goals"]) == len(goals)
    assert all(goal["met"] for goal in result["goals"])
    assert list((tmp_path / "out").glob("*.onnx"))


def test_a_goal_that_is_missed_is_exit_code_1_and_named(tmp_path, capfd):
    model = tiny_models.tiny_vit(tmp_path / "model")
    code = main(["optimize", "-m", str(model.path), "--cache-dir", str(tmp_path / "cache"), "-o",
                 str(tmp_path / "out"), "--goal", "size_on_disk=10"])  # fmt: skip
    assert code == 1
    assert "goal MISSED" in capfd.readouterr().out
