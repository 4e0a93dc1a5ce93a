"""Several processes on one store."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from olive_like.store.locks import FileLock
from tests.store.helpers import KEY, Cache, produce, read

SECONDS = os.environ.get("OLIVE_LIKE_STRESS_SECONDS", "5")
OTHER = "cd" * 32


def start(part: str, root: Path, argument: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("process.py")), part, str(root), argument]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    outputs = [process.communicate(timeout=120) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [output.strip() for output, _ in outputs]


def test_of_twenty_processes_one_computes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    digests = finish([start("compute", tmp_path / "cache", str(log)) for _ in range(20)])
    assert len(set(digests)) == 1
    assert len(log.read_text().split()) == 1
    assert list((tmp_path / "cache" / "locks").glob("key-*")) == []


def test_gc_never_takes_what_a_reader_uses(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        produce(cache)
    users = [start("use", tmp_path, SECONDS) for _ in range(4)]
    collectors = [start("collect", tmp_path, SECONDS) for _ in range(2)]
    rounds, removed = finish(users), finish(collectors)
    assert all(int(count) > 0 for count in rounds)
    assert sum(map(int, removed)) > 0
    assert Cache(tmp_path).verify().ok


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    with Cache(tmp_path) as cache:
        produce(cache)
    process = start("hold", tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_lock_ends_with_its_holder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    cache = Cache(tmp_path)
    assert not cache.key_lock(KEY).try_acquire()
    waited: list[bool] = []
    threading.Timer(0.3, lambda: _kill(holder)).start()
    began = time.monotonic()
    with cache.lock(KEY, lambda: waited.append(True)):
        assert waited == [True]
        assert time.monotonic() - began > 0.2
    assert not cache.key_lock(KEY).path.exists()


def test_what_a_live_process_uses_stays_and_what_a_dead_one_left_goes(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with Cache(tmp_path) as cache:
        assert cache.gc(max_size=0).removed == []
        assert len(list(cache.layout.staging.iterdir())) == 1
    _kill(holder)
    with Cache(tmp_path) as cache:
        assert list(cache.gc(max_size=0, dry_run=True).removed) != []
        assert cache.peek(KEY) is not None
        cache.gc(max_size=0)
        assert cache.peek(KEY) is None
        assert list(cache.layout.staging.iterdir()) == []
        assert list(cache.layout.leases.iterdir()) == []


def test_a_lock_file_of_a_dead_process_stops_nobody(tmp_path: Path) -> None:
    """Nothing is read from lock files, so no pid in them can be taken for a live one."""
    cache = Cache(tmp_path)
    lock = cache.key_lock(KEY)
    lock.path.write_text(f"{os.getpid()}\n")
    assert lock.try_acquire()
    lock.release()


def test_a_waiter_never_holds_a_lock_file_that_others_do_not_see(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "lock", 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(60):
            with FileLock(path):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0002)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not path.exists()


def test_thousands_of_keys_leave_no_files(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for n in range(2_000):
        with cache.lock(f"{n:064x}"):
            pass
    assert list(cache.layout.locks.iterdir()) == []
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_many_threads_in_one_store(tmp_path: Path) -> None:
    cache, errors = Cache(tmp_path), []

    def work(n: int) -> None:
        try:
            for step in range(10):
                key = f"{(n + step) % 7:064x}"
                with cache.lock(key):
                    artifact = cache.fetch(key) or produce(cache, key, {"a": key.encode()})
                assert read(artifact) == {"a": key.encode()}
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(cache.ls()) == 7
    assert cache.warnings == []


@pytest.mark.parametrize("shift", [-10 * 365 * 86400, 10 * 365 * 86400], ids=["back", "ahead"])
def test_a_clock_that_jumps_loses_nothing(tmp_path: Path, shift: int) -> None:
    with Cache(tmp_path) as cache:
        artifact = produce(cache, workflow="w", node="n")
    with sqlite3.connect(tmp_path / "index.sqlite") as db:
        db.execute("UPDATE objects SET last_used = last_used + ?, created = created + ?", (shift, shift))
        db.execute("UPDATE records SET created = created + ?", (shift,))
        db.execute("UPDATE uses SET at = at + ?", (shift,))
    with Cache(tmp_path) as cache:
        assert cache.fetch(KEY) == artifact
        assert abs(cache.ls()[0].last_used - time.time()) < 60  # put right by the use
        cache.used(OTHER, "w", "n")
        assert cache.last_record("w", "n") is not None
    with Cache(tmp_path) as cache:
        assert cache.gc(older_than=3600).removed == []
