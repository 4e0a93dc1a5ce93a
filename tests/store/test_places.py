"""Stores in awkward places: read-only, across file systems, without locks, shared with other versions, full."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import olive_like
from olive_like.cli import main
from olive_like.engine.runs import all_runs
from olive_like.errors import StoreError
from olive_like.store import Record, files, locks, seal
from olive_like.store.layout import Layout
from tests.store.faults import Outcome, in_child
from tests.store.helpers import KEY, Cache, fill, produce, read
from tests.store.test_concurrency import finish, start

OTHER = "cd" * 32
NOBODY = 65534


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
    shutil.rmtree(folder)


def _as_somebody_without_rights(work: Callable[[], None], temporary: Path) -> Outcome:
    def unprivileged() -> None:
        os.environ["TMPDIR"] = str(temporary)
        tempfile.tempdir = None
        if os.getuid() == 0:  # no permission stops root
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        work()

    return in_child(unprivileged, lambda number, operation: None)


@pytest.fixture
def read_only(open_folder: Path) -> tuple[Path, Path]:
    """A filled store that its user can only read, and a folder for temporary files."""
    root, temporary = open_folder / "cache", open_folder / "tmp"
    with Cache(root) as cache:
        produce(cache)
    for path in [root, *root.rglob("*")]:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o555 | 0o444)
    temporary.mkdir()
    temporary.chmod(0o777)
    return root, temporary


def test_a_read_only_store_is_read_and_new_results_go_elsewhere(read_only: tuple[Path, Path]) -> None:
    root, temporary = read_only

    def work() -> None:
        with Cache(root) as cache:
            found = cache.fetch(KEY)
            assert found is not None
            assert found.path.is_relative_to(root)
            assert read(found)["a.bin"] == b"first"
            with cache.lock(OTHER):
                assert found.digest is not None
                made = produce(cache, OTHER, {"b": b"new"}, refs={"base": found.digest}, workflow="w", node="n")
            assert made.path.is_relative_to(temporary)
            assert made.refs == {"base": found}
            assert len(cache.warnings) == 1
            assert str(root) in cache.warnings[0]
        with Cache(root) as cache:
            assert cache.fetch(OTHER) == made
            assert cache.peek(OTHER) is not None
            assert len(cache.ls()) == 2
            assert cache.last_record("w", "n") is not None
            assert cache.file_digest(made.path / "b")

    before = sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))
    outcome = _as_somebody_without_rights(work, temporary)
    assert not outcome.crash, outcome.crash
    assert outcome.error is None
    assert sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*")) == before


def test_runs_over_a_read_only_store_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, writable = tmp_path / "cache", Layout.is_writable
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    flow = {"passes": {"a": {"type": "Null"}}}
    before = olive_like.run(flow, cache_dir=root, output_dir=tmp_path / "out", in_process=True)
    monkeypatch.setattr(Layout, "is_writable", lambda layout: layout.root != root and writable(layout))
    after = olive_like.run(flow, cache_dir=root, output_dir=tmp_path / "out", in_process=True)
    assert after.passes["a"].status == "hit"
    assert not after.folder.is_relative_to(root)
    assert [run.folder for run in all_runs(root)] == [after.folder, before.folder]


def test_damage_in_a_read_only_store_is_a_miss(read_only: tuple[Path, Path]) -> None:
    root, temporary = read_only
    victim = next(root.glob("objects/*/*/a.bin"))
    victim.chmod(0o644)
    victim.write_bytes(b"fiRst")

    def work() -> None:
        with Cache(root) as cache:
            assert cache.fetch(KEY) is None
            assert any("damaged" in warning for warning in cache.warnings)
            made = produce(cache)
            assert read(made)["a.bin"] == b"first"
        with Cache(root) as cache:
            assert cache.fetch(KEY) == made

    outcome = _as_somebody_without_rights(work, temporary)
    assert not outcome.crash, outcome.crash
    assert outcome.error is None


def test_a_read_only_store_in_which_its_owner_is_at_work(read_only: tuple[Path, Path]) -> None:
    """What the owner has just written stands in SQLite's log only; the reader sees it."""
    root, temporary = read_only
    if os.getuid() != 0:
        pytest.skip("needs two users: one who may write, and one who may not")

    def work() -> None:
        with Cache(root) as cache:
            assert cache.fetch(KEY) is not None
            assert cache.fetch(OTHER) is not None

    with Cache(root) as owner:
        produce(owner, OTHER, {"b": b"just now"})
        assert (root / "index.sqlite-wal").stat().st_size > 0
        outcome = _as_somebody_without_rights(work, temporary)
    assert not outcome.crash, outcome.crash
    assert outcome.error is None


def test_a_damaged_index_in_a_read_only_store_is_a_miss(read_only: tuple[Path, Path]) -> None:
    root, temporary = read_only
    (root / "index.sqlite").chmod(0o644)
    (root / "index.sqlite").write_bytes(b"garbage" * 1000)

    def work() -> None:
        with Cache(root) as cache:
            assert cache.fetch(KEY) is None
            assert sum("cannot be read" in warning for warning in cache.warnings) == 1
            made = produce(cache)
            assert cache.fetch(KEY) == made

    outcome = _as_somebody_without_rights(work, temporary)
    assert not outcome.crash, outcome.crash
    assert outcome.error is None


def test_somebody_elses_overlay_is_not_trusted(read_only: tuple[Path, Path]) -> None:
    root, temporary = read_only
    user = NOBODY if os.getuid() == 0 else os.getuid()
    if os.getuid() != 0:
        pytest.skip("only root can make a folder that belongs to another user than the reader")
    (temporary / f"olive-like-{user}").mkdir()
    outcome = _as_somebody_without_rights(lambda: produce(Cache(root), OTHER) and None, temporary)
    assert outcome.error is not None
    assert "belongs to somebody else" in outcome.error.message


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    shm = Path("/dev/shm")
    if not shm.is_dir() or not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm))
    yield folder
    shutil.rmtree(folder)


def test_objects_on_another_file_system(tmp_path: Path, other_file_system: Path) -> None:
    root = tmp_path / "cache"
    root.mkdir()
    (root / "objects").symlink_to(other_file_system)
    cache = Cache(root)
    staging = cache.staging(KEY)
    fill(staging, {"run.sh": b"#!", "sub/b.bin": b"second"})
    (staging / "run.sh").chmod(0o755)
    artifact = cache.commit(KEY, staging, seal(staging, "null", {}, {}), Record(KEY))
    assert artifact.path.stat().st_dev == other_file_system.stat().st_dev
    assert not staging.exists()
    assert Cache(root).fetch(KEY) == artifact
    assert os.access(artifact.path / "run.sh", os.X_OK)
    assert list(other_file_system.glob("*/.*")) == []
    assert cache.verify().ok


def test_nothing_in_a_store_is_a_link(tmp_path: Path) -> None:
    """A file system without links can hold a store, and tools that refuse links can read from it."""
    with Cache(tmp_path) as cache:
        produce(cache)
        paths = [tmp_path, *tmp_path.rglob("*")]
        assert not any(path.is_symlink() for path in paths)
        assert all(path.stat().st_nlink == 1 for path in paths if path.is_file())


def test_without_locks_it_works_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with Cache(tmp_path) as cache:
        with cache.lock(KEY):
            artifact = produce(cache)
        assert cache.fetch(KEY) == artifact
        assert "knows no locks" in cache.warnings[0]
        produce(cache, OTHER, {"a": b"other"})
        with pytest.raises(StoreError, match="cannot tell what is in use"):
            Cache(tmp_path).gc(max_size=0)
        assert cache.fetch(KEY) == artifact


def test_another_version_keeps_its_own_index(tmp_path: Path) -> None:
    """A later version has begun the store: its index stays as it is, the objects are shared."""
    with Cache(tmp_path) as cache:
        artifact = produce(cache)
    (tmp_path / "store.json").write_text(json.dumps({"schema": 2, "more": "than we know"}))
    with sqlite3.connect(tmp_path / "index.sqlite") as db:
        db.execute("PRAGMA user_version = 2")
    theirs = (tmp_path / "index.sqlite").read_bytes()
    with Cache(tmp_path) as cache:
        assert cache.fetch(KEY) is None
        assert produce(cache) == artifact
        assert cache.fetch(KEY) == artifact
        assert cache.warnings == []
    assert (tmp_path / "index.sqlite").read_bytes() == theirs
    assert (tmp_path / "index-1.sqlite").exists()
    assert json.loads((tmp_path / "store.json").read_text())["schema"] == 2


def test_a_garbled_store_json_is_nobodys(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        artifact = produce(cache)
    (tmp_path / "store.json").write_bytes(b"\xff{")
    with Cache(tmp_path) as cache:
        assert produce(cache) == artifact
        assert cache.fetch(KEY) == artifact


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    odd = os.fsdecode(b"m\xff")
    model = tmp_path / odd
    try:
        fill(model, {odd: b"x"})
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with Cache(tmp_path / odd / ".cache" / "store") as cache:
        base = cache.tree_digest(model, "hf_model", {})
        produce(cache, KEY, {odd: b"y"}, refs={"base": base.digest}, workflow=odd, node=odd)
        cache.pin(base.digest, model)
        assert cache.last_record(odd, odd) is not None
    with Cache(tmp_path / odd / ".cache" / "store") as cache:
        found = cache.fetch(KEY)
        assert found is not None
        assert found.refs["base"].path == model
        assert cache.verify().ok
        assert len(cache.gc(max_size=0).removed) == 0  # in use
    assert main(["cache", "show", KEY, "--cache-dir", str(cache.root)]) == 0


def test_a_cache_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="no folder"):
        Cache(tmp_path / "file").fetch(KEY)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "disk"
    target.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(target)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs rights that this user has not")
    yield target
    subprocess.run(["umount", "-l", str(target)], check=True)


@pytest.mark.parametrize("attempt", range(10))
def test_a_full_disk(small_disk: Path, attempt: int) -> None:
    """Filled up at ten random places: what is there is whole, and after making room the next run completes."""
    luck = random.Random(attempt)
    (small_disk / "ballast").write_bytes(bytes(luck.randrange(0, 1 << 20)))
    root = small_disk / "cache"
    (message,) = finish([start("stuff", root, str(luck.randrange(500, 60_000)))])
    assert "No space left" in message or "full" in message
    assert message.startswith("pass:") or str(root) in message
    with Cache(root) as cache:
        if not message.startswith("pass:"):
            assert list(cache.layout.staging.iterdir()) == []
    (small_disk / "ballast").unlink()
    (small_disk / "cache" / "runs").mkdir(exist_ok=True)
    with Cache(root) as cache:
        # Clean, whatever was interrupted.
        assert cache.verify().ok
        cache.gc(max_size=200_000)
        produce(cache, KEY, {"a.bin": os.urandom(100_000)})
        assert cache.fetch(KEY) is not None
        assert cache.warnings == []
    assert files.hook is None
