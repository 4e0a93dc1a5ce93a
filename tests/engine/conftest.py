"""A cache and an output folder of each test's own, and a distribution with the passes that misbehave."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from olive_like.api import RunResult, run
from olive_like.passes import registry
from olive_like.systems import registry as systems

COMMAND = [sys.executable, "-c", "import sys; from olive_like.cli import main; sys.exit(main())"]


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on the path, is an installed distribution with passes."""
    folder = tmp_path_factory.mktemp("plugin")
    source = Path(__file__).with_name("plugin_passes.py")
    (folder / "engine_test_passes.py").write_text(source.read_text())
    (folder / "engine_test_launcher.py").write_text(source.with_name("launcher.py").read_text())
    info = folder / "engine_test_passes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-test-passes\nVersion: 1.0\n")
    from tests.engine.plugin_passes import PASSES

    points = [f"{cls.__name__} = engine_test_passes:{cls.__name__}" for cls in PASSES]
    points += ["[olive_like.systems]", "ranks = engine_test_passes:RankSystem"]
    (info / "entry_points.txt").write_text("\n".join(["[olive_like.passes]", *points, ""]))
    return folder


@pytest.fixture
def plugin(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The passes that misbehave are installed, here and in processes that are started."""
    monkeypatch.syspath_prepend(str(plugin_folder))
    monkeypatch.setenv("PYTHONPATH", str(plugin_folder))
    for room in (registry, systems):
        room._plugins.cache_clear()
        room.load.cache_clear()
    yield plugin_folder
    for room in (registry, systems):
        room._plugins.cache_clear()
        room.load.cache_clear()


class Bench:
    """One cache and one output folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / "cache"
        self.out = root / "out"

    def flow(self, passes: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "input_model": {"type": "Null"},
            "system": "null",
            "passes": passes,
            "cache_dir": str(self.cache),
            "output_dir": str(self.out),
            **more,
        }

    def file(self, passes: dict[str, Any], name: str = "flow.json", **more: Any) -> Path:
        path = self.root / name
        path.write_text(json.dumps(self.flow(passes, **more)))
        return path

    def run(self, passes: dict[str, Any], /, flow: dict[str, Any] | None = None, **options: Any) -> RunResult:
        return run(self.flow(passes, **(flow or {})), **options)

    def start(self, file: Path, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "run", str(file), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def command(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, **more)

    def leftovers(self) -> list[str]:
        """What a run must not leave behind in the cache: held locks and staging folders."""
        held = [path.name for path in (self.cache / "locks").glob("key-*") if not _free(path)]
        return held + [path.name for path in (self.cache / "staging").glob("*")]


def _free(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def no_process_left() -> Iterator[None]:
    """What the test started is gone when it is over."""
    yield
    deadline = time.time() + 5
    while (left := psutil.Process().children(recursive=True)) and time.time() < deadline:
        time.sleep(0.05)
    assert not left, [child.cmdline() for child in left]


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What the condition gives as soon as it is true."""
    deadline = time.time() + seconds
    while not (value := condition()):
        assert time.time() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, float]:
    """Send a signal; the exit code and how long it took."""
    began = time.time()
    os.kill(process.pid, number)
    code = process.wait(30)
    return code, time.time() - began
