"""The same as test_faults, one floor below: every system call on the store's files, SQLite's own included."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHIM = Path(__file__).with_name("shim.c")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("the shim needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True)
    return library


def sweep(shim: Path, folder: Path, filled: str, code: int, how_long: str) -> dict[str, Any]:
    """Let each call in turn be the last, or fail; every time the store must be sound afterwards."""
    command = [sys.executable, str(SHIM.with_name("preloaded.py")), str(shim), str(folder), filled, str(code), how_long]
    result = subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(shim)}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@pytest.mark.parametrize("filled", ["empty", "full"])
def test_killed_at_every_system_call(shim: Path, quick_folder: Path, filled: str) -> None:
    answer = sweep(shim, quick_folder, filled, 0, "once")
    assert answer["calls"] > 30
    assert answer["killed"] == answer["calls"]


@pytest.mark.parametrize(
    ("filled", "code", "how_long"),
    [
        ("empty", errno.EIO, "once"),
        ("empty", errno.ENOSPC, "ever"),
        ("full", errno.ENOSPC, "once"),
        ("full", errno.EIO, "ever"),
    ],
)
def test_failing_at_every_system_call(shim: Path, quick_folder: Path, filled: str, code: int, how_long: str) -> None:
    answer = sweep(shim, quick_folder, filled, code, how_long)
    assert answer["killed"] == 0
    assert len(answer["refused"]) > 10
    assert any("sqlite" in message for message in answer["refused"])
