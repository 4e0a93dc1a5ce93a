"""A power failure at any moment of publishing: a record never leads to anything but the whole artifact."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from olive_like.store import Record, files, seal
from tests.store.helpers import KEY, Cache, fill, produce, read
from tests.store.power import Disk

GOOD = {"a.bin": b"first", "sub/b.bin": b"second"}


@pytest.fixture(autouse=True)
def _no_hook_left() -> Iterator[None]:
    yield
    files.hook = None


def _publish(root: Path) -> None:
    with Cache(root) as cache:
        staging = cache.staging(KEY)
        fill(staging, GOOD)
        manifest = seal(staging, "null", {"n": 1}, {})
        cache.commit(KEY, staging, manifest, Record(KEY))


def _give_index(source: Path, target: Path) -> None:
    """SQLite may have kept the transaction; and the index may take every file for the one it knows."""
    shutil.copy(source, target / "index.sqlite")
    with sqlite3.connect(target / "index.sqlite") as db:
        for digest, text in db.execute("SELECT digest, files FROM objects").fetchall():
            folder, stamps = target / "objects" / digest[:2] / digest, []
            for path, *_ in json.loads(text):
                file = folder / path
                status = file.stat() if file.exists() else None
                stamps.append(
                    [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
                    if status
                    else [0] * 5
                )
            db.execute("UPDATE objects SET stamps = ? WHERE digest = ?", (json.dumps(stamps), digest))


def _check(root: Path, heal: bool) -> bool:
    """Whether the artifact is there; where it is, it is whole, and where it is not, it can be made."""
    with Cache(root) as cache:
        found = cache.fetch(KEY)
        if found is not None:
            assert read(found) == GOOD
        if not heal:
            return found is not None
        assert read(produce(cache)) == GOOD
    with Cache(root) as cache:
        again = cache.fetch(KEY)
        assert again is not None
        assert read(again) == GOOD
    return found is not None


def test_whatever_was_not_synced_is_lost(quick_folder: Path) -> None:
    root, wreck, index = quick_folder / "cache", quick_folder / "wreck", quick_folder / "index"
    disk = Disk(root)
    committed, moments = False, 0

    def hook(operation: str, *paths: str) -> None:
        nonlocal committed, moments
        files.hook = None
        disk.finish()
        for seed in [None, *range(8)]:
            disk.fail(wreck, seed)
            if committed:
                _give_index(index, wreck)
            found = _check(wreck, heal=seed in (None, 0))
            assert found or not committed, f"lost after the commit, before {operation} {paths}, seed {seed}"
        moments += 1
        disk.begin(operation, *paths)
        committed = committed or operation == "commit"
        files.hook = hook

    # The index as it will be after the commit: taken from a run of its own.
    _publish(quick_folder / "other")
    shutil.copy(quick_folder / "other" / "index.sqlite", index)
    files.hook = hook
    _publish(root)
    files.hook = None
    disk.finish()
    assert committed
    assert moments > 15
    operations = [operation for operation, *_ in disk.log]
    assert {"fsync", "fsync_folder", "rename", "commit"} <= set(operations)
    for seed in [None, *range(40)]:
        disk.fail(wreck, seed)
        _give_index(index, wreck)
        assert _check(wreck, heal=False), f"the commit returned, yet the artifact is lost (seed {seed})"


@pytest.mark.parametrize("omitted", ["sync_folder", "sync_file"])
def test_the_replay_notices_a_missing_sync(quick_folder: Path, monkeypatch: pytest.MonkeyPatch, omitted: str) -> None:
    """The test above can fail: without the folder's fsync the artifact is lost, without the files' it is zeros."""
    root, wreck = quick_folder / "cache", quick_folder / "wreck"
    monkeypatch.setattr(f"olive_like.store.files.{omitted}", lambda *_: None)
    disk = Disk(root)
    files.hook = disk.hook
    _publish(root)
    files.hook = None
    disk.finish()
    disk.fail(wreck, None)
    _give_index(root / "index.sqlite", wreck)
    with Cache(wreck) as cache:
        found = cache.fetch(KEY)
    assert found is None or read(found) != GOOD
