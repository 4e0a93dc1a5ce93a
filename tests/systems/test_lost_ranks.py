"""A rank that dies in the middle of a training: the pass fails and says which; the next run goes on."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.systems.training import Training

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("ranks")]
pytest.importorskip("deepspeed")

LONG: dict[str, Any] = {"max_steps": 40, "save_steps": 5, "eval_steps": 40, "per_device_train_batch_size": 2}
ALONE: dict[str, Any] = {"per_device_train_batch_size": 4}


@pytest.mark.parametrize("kind", ["deepspeed", "torchrun"])
def test_a_killed_rank(kind: str, tmp_path: Path) -> None:
    training = Training(tmp_path)
    system: dict[str, Any] = {"type": kind, "ranks": 2}
    process = training.start(training.file(system, **LONG))
    try:
        wait_for(lambda: training.checkpoints()[1:], process)
    except BaseException:
        process.kill()
        raise
    everybody = psutil.Process(process.pid).children(recursive=True)
    victim = next(one for one in everybody if is_rank(one, 1))  # parents come first: not its guard
    killed = time.time()
    victim.kill()
    out, err = process.communicate(timeout=60)
    assert time.time() - killed < 30
    assert process.returncode == 1, err
    error = next(p for p in json.loads(out)["passes"] if p["name"] == "train")["error"]
    assert error["message"].startswith("rank 1 (pid "), error
    assert [one for one in everybody if alive(one)] == []
    reached = training.checkpoints()[-1]
    kept = shutil.copytree(tmp_path / "cache" / "scratch", tmp_path / "kept")
    found = training.run(system, **LONG)
    assert found["status"] == "ran", found
    assert f"goes on from step {reached} of the interrupted run" in found["notes"]
    whole = training.run({"type": "local"}, "undisturbed", **LONG | ALONE, adam_epsilon=1.0001e-8)
    assert found["metrics"]["eval_loss"] == pytest.approx(whole["metrics"]["eval_loss"], abs=1e-3)
    # As many examples in each step, on one rank: it goes on from there as well.
    shutil.copytree(kept, tmp_path / "cache" / "scratch", dirs_exist_ok=True)
    alone = training.run({"type": "local"} if kind == "torchrun" else {**system, "ranks": 1}, **LONG | ALONE)
    assert alone["status"] == "ran", alone
    assert f"goes on from step {reached} of the interrupted run, which had 2 ranks" in alone["notes"]
    assert alone["metrics"]["eval_loss"] == pytest.approx(whole["metrics"]["eval_loss"], abs=1e-3)


def wait_for(condition: Any, process: Any, seconds: float = 200) -> None:
    deadline = time.time() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.time() < deadline, "waited in vain"
        time.sleep(0.01)


def is_rank(process: psutil.Process, rank: int) -> bool:
    try:
        return process.environ().get("RANK") == str(rank) and "olive_like.engine.worker" in process.cmdline()
    except psutil.Error:
        return False


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
