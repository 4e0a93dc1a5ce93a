"""Workers of a Ray cluster that do not see the cache folder: everything travels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "import sys; from olive_like.cli import main; sys.exit(main())", "run"]

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("ray")]


def test_passes_read_and_write_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "note.txt").write_text("a note")
    step = {"type": "Places", "file": "note.txt"}
    flow = {
        "input_model": {"type": "Null"},
        "systems": {"away": {"type": "ray", "shared": False, "slots": 1}},
        "system": "away",
        "passes": {"one": step, "two": {**step, "input": "one"}},
        "cache_dir": str(tmp_path / "cache"),
        "output_dir": str(tmp_path / "out"),
    }
    (tmp_path / "flow.json").write_text(json.dumps(flow))
    environment = {**os.environ, "PYTHONPATH": str(distribution(tmp_path / "plugin"))}
    done = subprocess.run(
        [*COMMAND, str(tmp_path / "flow.json"), "--json"], capture_output=True, text=True, env=environment, timeout=200
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert {one["status"] for one in json.loads(done.stdout)["passes"]} == {"ran"}
    told = json.loads((tmp_path / "out" / "two" / "deep" / "told.json").read_text())
    places = [*told["model"], told["base"], told["file"][0], told["output"]]
    assert not [place for place in places if place.startswith(str(tmp_path))], places
    assert told["file"][1] == "a note"
    before = next(json.loads(text) for name, text in told["model"].items() if name.endswith("told.json"))
    assert before["base"] is None
    assert not Path(told["output"]).exists()


def distribution(folder: Path) -> Path:
    """A folder that, on the path, is an installed distribution with the pass."""
    info = folder / "path_passes-1.0.dist-info"
    info.mkdir(parents=True)
    source = Path(__file__).with_name("path_passes.py")
    (folder / "path_passes.py").write_text(source.read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: path-passes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[olive_like.passes]\nPlaces = path_passes:Places\n")
    return folder
