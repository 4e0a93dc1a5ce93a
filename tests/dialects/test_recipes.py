"""A folder of real workflow files, where the machine has one."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

FOLDER = os.environ.get("OLIVE_LIKE_RECIPES", "")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "recipes.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT), run_name="recipes")


@pytest.mark.skipif(not FOLDER, reason="OLIVE_LIKE_RECIPES names no folder of workflow files")
def test_every_file_goes_through(script) -> None:
    tally = script["examine"](Path(FOLDER))
    assert not tally.faults
    assert sum(sum(counts.values()) for counts in tally.verdicts.values()) > 0


def test_the_table_counts(script, tmp_path: Path) -> None:
    (tmp_path / "clean.yaml").write_text("input_model: {type: 'Null'}\npasses: {a: {type: 'Null'}}\n")
    (tmp_path / "vendor.json").write_text(
        '{"input_model": {"type": "Null"}, "passes": {"a": {"type": "QNNConversion"}}}'
    )
    (tmp_path / "broken.json").write_text('{"passes": ')
    tally = script["examine"](tmp_path)
    assert dict(tally.verdicts["-"]) == {"clean": 1, "names what is missing": 2}
    assert dict(tally.passes) == {"QNNConversion": 1}
    assert not tally.faults


def test_files_are_run_one_after_the_other(tmp_path: Path) -> None:
    """One that takes too long ends the process that runs it, and the rest goes on in another."""
    runner = runpy.run_path(str(SCRIPT.with_name("recipes_run.py")), run_name="recipes_run")
    passes = {"fine": "{type: 'Null'}", "slow": "{type: 'Null', value: 1, seconds: 60}", "gone": "{type: 'NoSuchPass'}"}
    files = []
    for name, step in passes.items():
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(f"input_model: {{type: 'Null'}}\npasses: {{a: {step}}}\n")
    files.append(files[0])
    outcomes = list(runner["attempt_all"](files, tmp_path / "cache", 6))
    assert [outcome.verdict for outcome in outcomes] == ["ok", "failed", "not planned", "ok"]
    assert "longer than 6 s" in outcomes[1].why
    assert "NoSuchPass" in outcomes[2].why
