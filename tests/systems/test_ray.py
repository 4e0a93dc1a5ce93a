"""Passes in a Ray cluster of the run's own; a worker that Ray loses costs one more try."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from olive_like.systems.base import Machine
from olive_like.systems.ray import Ray

COMMAND = [sys.executable, "-c", "import sys; from olive_like.cli import main; sys.exit(main())", "run"]


def test_what_is_asked_of_the_cluster() -> None:
    here = Machine(cores=8, memory=1 << 34)
    config = Ray.Config(address="10.0.0.1:6379", cpus=2, gpus=0.5, resources={"disk": 1})
    launch = Ray.launch(config, here)
    assert launch.command[3:] == (
        "olive_like.systems._ray_worker",
        "--address=10.0.0.1:6379",
        '--resources={"num_cpus": 2.0, "num_gpus": 0.5, "resources": {"disk": 1.0}}',
        "-m",
    )
    assert (launch.slots, launch.threads, launch.retries, launch.devices) == (4, 2, 3, ("cuda",))
    assert launch.hosts
    assert Ray.traits(config) == {"device": "cuda", "world_size": 1}
    assert Ray.launch(Ray.Config(), here).hosts == ()
    apart = Ray.launch(Ray.Config(address="10.0.0.1:6379", shared=False), here)
    assert apart.command[-2:] == ("--apart=1", "-m")
    assert apart.apart, "no checkpoints there"
    assert not launch.apart
    assert apart.hosts == (), "whom the engine talks to is on its own machine"
    assert "12 cores" in Ray.troubles(Ray.Config(cpus=12), here)[0].message


@pytest.mark.heavy
@pytest.mark.xdist_group("ray")
def test_a_lost_worker_does_not_stop_the_run(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    branch: dict[str, Any] = {"type": "Null", "seconds": 2.0, "input": "input_model"}
    flow = {
        "input_model": {"type": "Null"},
        "systems": {"cluster": {"type": "ray"}},
        "system": "cluster",
        "passes": {f"branch{i}": {**branch, "value": i} for i in range(6)},
        "cache_dir": str(tmp_path / "cache"),
        "output_dir": str(tmp_path / "out"),
    }
    (tmp_path / "flow.json").write_text(json.dumps(flow))
    before = set(psutil.pids())
    process = subprocess.Popen(
        [*COMMAND, str(tmp_path / "flow.json"), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    victim = wait_for(lambda: busy_worker(before, tmp_path), process)
    victim.kill()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    passes = json.loads(out)["passes"]
    assert {one["status"] for one in passes} == {"ran"}
    warnings = [text for one in passes for text in one["warnings"]]
    assert len(warnings) == 1
    assert "it is tried again (1 of 3)" in warnings[0]
    deadline = time.time() + 20
    while (left := of_ray(before)) and time.time() < deadline:
        time.sleep(0.2)
    assert left == []


def busy_worker(before: set[int], root: Path) -> psutil.Process | None:
    """Ray's process above one of our workers that has begun with a pass."""
    started = [line for file in root.glob("cache/runs/*/events.jsonl") for line in file.read_text().splitlines()]
    if not any('"started"' in line for line in started):
        return None
    for one in processes(before):
        try:
            above = one.parent()
            if "olive_like.engine.worker" in one.cmdline() and above and above.cmdline()[:1] == ["ray::_run"]:
                time.sleep(0.7)  # until the worker is in the midst of its pass
                return above
        except psutil.Error:
            continue
    return None


def of_ray(before: set[int]) -> list[str]:
    names = ("raylet", "gcs_server", "_ray_cluster", "_ray_worker", "ray::")
    found = []
    for one in processes(before):
        try:
            line = " ".join(one.cmdline())
            if any(name in line for name in names) and one.status() != psutil.STATUS_ZOMBIE:
                found.append(line[:200])
        except psutil.Error:
            continue
    return found


def processes(before: set[int]) -> list[psutil.Process]:
    """What was started since, by this user and not by this very process."""
    return [one for one in psutil.process_iter() if one.pid not in before and one.pid != os.getpid()]


def wait_for(condition: Any, process: Any, seconds: float = 150) -> Any:
    deadline = time.time() + seconds
    while not (value := condition()):
        assert process.poll() is None, process.communicate()
        assert time.time() < deadline, "waited in vain"
        time.sleep(0.05)
    return value
