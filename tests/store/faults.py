"""Processes that die, and calls that fail, at the n-th of the store's I/O operations."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from olive_like.artifacts import Artifact
from olive_like.errors import StoreError
from olive_like.store import Record, files, seal
from tests.store.helpers import KEY, Cache, fill, read

# What removes or reads is not what a full disk refuses.
CREATES = {"mkdir", "open", "write", "fsync", "fsync_folder", "rename", "copy", "begin", "commit"}


@dataclass
class Outcome:
    """How a child process ended."""

    killed: bool
    calls: int  # I/O operations that it made, -1 where it was killed
    error: StoreError | None
    crash: str  # a traceback: never wanted


def in_child(work: Callable[[], None], hook: Callable[[int, str], None]) -> Outcome:
    """Do `work` in a forked process whose every I/O operation calls `hook(number, operation)` first."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(work, hook, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return Outcome(True, -1, None, "")
    calls, kind, text = answer.split("\0", 2)
    return Outcome(False, int(calls), StoreError(text) if kind == "refused" else None, text if kind == "crash" else "")


def _work(work: Callable[[], None], hook: Callable[[int, str], None], pipe: int) -> None:
    """Never returns: the child must not go on with the tests of its parent."""
    calls = 0

    def count(operation: str, *_: str) -> None:
        nonlocal calls
        calls += 1
        hook(calls, operation)

    files.hook = count
    kind, text = "done", ""
    try:
        work()
    except PassFailed:
        kind = "pass failed"
    except StoreError as error:
        kind, text = "refused", error.message
    except BaseException:  # noqa: BLE001 - it is handed to the parent
        kind, text = "crash", traceback.format_exc()
    os.write(pipe, f"{calls}\0{kind}\0{text}".encode())
    sys.stdout.flush()
    os._exit(0)


def count_calls(work: Callable[[], None]) -> int:
    """How many I/O operations `work` makes when nothing fails."""
    outcome = in_child(work, lambda number, operation: None)
    assert not outcome.crash, outcome.crash
    return outcome.calls


def kill_at(n: int) -> Callable[[int, str], None]:
    def hook(number: int, operation: str) -> None:
        if number == n:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def fail_at(n: int, code: int, for_ever: bool) -> Callable[[int, str], None]:
    def hook(number: int, operation: str) -> None:
        if number == n or (for_ever and number > n and operation in CREATES):
            raise OSError(code, os.strerror(code))

    return hook


GOOD = {"a.bin": b"first", "sub/b.bin": b"second"}


class PassFailed(Exception):
    """The pass itself could not write its output: not the store's affair."""


def publish(root: Path) -> None:
    """What a run does for one pass, as carefully as a run does it."""
    with Cache(root) as cache, cache.lock(KEY):
        staging = cache.staging(KEY)
        try:
            try:
                fill(staging, GOOD)
            except OSError as error:
                raise PassFailed from error
            manifest = seal(staging, "null", {"n": 1}, {})
            cache.commit(KEY, staging, manifest, Record(KEY, workflow="w", node="n"))
        finally:
            if staging.exists():
                cache.discard(staging)


def check_sound(root: Path) -> None:
    """The entry is whole or absent; after one more run it is there; no trace of the accident remains."""
    with Cache(root) as cache:
        first = cache.fetch(KEY)
        assert first is None or read(first) == GOOD
    publish(root)
    with Cache(root) as cache:
        artifact = cache.fetch(KEY)
        assert isinstance(artifact, Artifact)
        assert read(artifact) == GOOD
        assert cache.warnings == []
        assert cache.verify().ok
        assert cache.gc(older_than=10**9).removed == []
    assert leftovers(root) == []
    assert list((root / "locks").glob("key-*")) == []
    assert [path.name for path in (root / "objects").glob("*/.*")] == []


ERRNOS = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EACCES]


def leftovers(root: Path) -> list[str]:
    staging = root / "staging"
    return [path.name for path in staging.iterdir()] if staging.exists() else []
