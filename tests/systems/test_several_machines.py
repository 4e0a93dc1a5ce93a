"""Ranks on several machines, each of which is this one: a `pdsh` that starts everything here stands in for ssh."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.conftest import COMMAND, plugin_folder

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("ranks")]

__all__ = ["plugin_folder"]

PDSH = f"""#!{sys.executable}
import subprocess, sys
arguments = sys.argv[1:]
at = arguments.index("-w")
hosts, command = arguments[at + 1].split(","), arguments[at + 2:]
there = [subprocess.Popen(command) for _ in hosts]
sys.exit(max(abs(one.wait()) for one in there))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_ranks_meet_over_the_network(plugin_folder: Path, tmp_path: Path) -> None:
    """Both machines' launchers find each other, their ranks the engine, and nobody needs a socket of this machine."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pdsh").write_text(PDSH)
    (tmp_path / "bin" / "pdsh").chmod(0o755)
    (tmp_path / "hosts").write_text("one slots=2\nother slots=2\n")
    (tmp_path / "pids").mkdir()
    system = {
        "type": "torchrun", "device": "cpu", "launcher": "pdsh", "hostfile": str(tmp_path / "hosts"),
        "main_address": "127.0.0.1", "main_port": free_port(), "environment_variables": {"COLOUR": "red"},
    }  # fmt: skip
    flow = {
        "input_model": {"type": "Null"},
        "systems": {"pair": system},
        "system": "pair",
        "passes": {"train": {"type": "Ranks", "pids": str(tmp_path / "pids")}},
        "cache_dir": str(tmp_path / "cache"),
        "output_dir": str(tmp_path / "out"),
    }
    (tmp_path / "flow.json").write_text(json.dumps(flow))
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(plugin_folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*COMMAND, "run", str(tmp_path / "flow.json"), "--json"],
        capture_output=True, text=True, env=environment, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    files = {path.name: path.read_text() for path in (tmp_path / "out" / "train").glob("rank*.txt")}
    assert files == {f"rank{n}.txt": f"{n} of 4" for n in range(4)}
    assert not list(tmp_path.glob("cache/runs/*/logs/.meeting-*"))
