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
