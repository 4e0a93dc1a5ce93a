"""Workers of a Ray cluster that do not see the cache folder: everything travels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "import sys; from olive_like.cli import main; sys.exit(main())", "run"]


@pytest.mark.heavy
@pytest.mark.xdist_group("ray")
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


def test_code_of_the_users_travels_and_outputs_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray: a folder of this machine is the place, and calls to it are plain ones."""
    apart = pytest.importorskip("olive_like.systems._ray_apart", exc_type=ImportError)
    monkeypatch.setattr(apart.ray, "get", lambda value: value)
    (tmp_path / "code").mkdir()
    for file in ("code/build.py", "code/helper.py", "weights"):
        (tmp_path / file).write_text(file)
    code = {"script": str(tmp_path / "code/build.py"), "script_dir": str(tmp_path / "code"), "task": "none"}
    model = {"kind": "pytorch_model", "path": str(tmp_path / "weights"), "attributes": code, "refs": {}, "digest": "1"}
    job = {
        "target": "olive_like.passes.pretend.null:Null",
        "config": {},
        "inputs": [model],
        "data": {},
        "output": str(tmp_path / "here"),
    }
    place, said = _Nearby(tmp_path / "there"), []
    for output in ("output-1", "output-2"):
        apart._Errand(place, str(tmp_path / "there"), output, said.append, job).run()
    first, second = (seen["inputs"][0]["attributes"] for seen in place.jobs)
    assert first == second
    assert first["task"] == "none"
    for name in ("script", "script_dir"):
        assert first[name].startswith(str(tmp_path / "there/inputs/"))
    assert Path(first["script"]).read_text() == "code/build.py"
    assert (Path(first["script_dir"]) / "helper.py").read_text() == "code/helper.py"
    assert [Path(seen["output"]).name for seen in place.jobs] == ["output-1", "output-2"]
    assert not list((tmp_path / "there").glob("output-*"))
    made = said[-1]["artifact"]
    assert made["attributes"] == code  # as it is here, where the place's folder will be gone
    assert (tmp_path / "here/made").read_text() == "output-2"


class _Nearby:
    """A place whose worker hands the model on, called as Ray calls it."""

    def __init__(self, folder: Path) -> None:
        from olive_like.systems._ray_apart import Place

        folder.mkdir()
        self._place = object.__new__(Place)
        self._place._folder = folder
        self.jobs: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=self._run if name == "run" else getattr(self._place, name))

    def _run(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        self.jobs.append(job)
        output = Path(job["output"])
        (output / "made").write_text(output.name)
        made = {**job["inputs"][0], "path": str(output), "refs": {}, "digest": None}
        return [{"event": "done", "rank": 0, "artifact": made, "kept": True}]


def distribution(folder: Path) -> Path:
    """A folder that, on the path, is an installed distribution with the pass."""
    info = folder / "path_passes-1.0.dist-info"
    info.mkdir(parents=True)
    source = Path(__file__).with_name("path_passes.py")
    (folder / "path_passes.py").write_text(source.read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: path-passes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[olive_like.passes]\nPlaces = path_passes:Places\n")
    return folder
