"""Damage of every sort is found on use, quarantined, said aloud, and healed by running again."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from olive_like.artifacts import Artifact
from tests.store.helpers import KEY, Cache, produce, read

OTHER = "cd" * 32
GOOD = {"a.bin": b"first", "sub/b.bin": b"second"}


def _overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def flip(artifact: Artifact) -> None:
    _overwrite(artifact.path / "a.bin", b"fiRst")


def truncate(artifact: Artifact) -> None:
    _overwrite(artifact.path / "a.bin", b"")


def cut(artifact: Artifact) -> None:
    _overwrite(artifact.path / "sub/b.bin", b"secon")


def delete(artifact: Artifact) -> None:
    (artifact.path / "sub/b.bin").unlink()


def delete_all(artifact: Artifact) -> None:
    shutil.rmtree(artifact.path)


def add(artifact: Artifact) -> None:
    (artifact.path / "sub/c.bin").write_bytes(b"")


def make_executable(artifact: Artifact) -> None:
    (artifact.path / "a.bin").chmod(0o555)


def change_case(artifact: Artifact) -> None:
    (artifact.path / "a.bin").rename(artifact.path / "A.bin")


def swap_for_link(artifact: Artifact) -> None:
    (artifact.path / "a.bin").rename(artifact.path.parent / "hidden")
    (artifact.path / "a.bin").symlink_to(artifact.path.parent / "hidden")


def same_size_and_mtime(artifact: Artifact) -> None:
    path = artifact.path / "a.bin"
    before = path.stat()
    _overwrite(path, b"FIRST")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


DAMAGES = [
    flip, truncate, cut, delete, delete_all, add, make_executable, change_case, swap_for_link, same_size_and_mtime,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_said_quarantined_and_healed(tmp_path: Path, damage: Callable[[Artifact], None]) -> None:
    cache = Cache(tmp_path)
    artifact = produce(cache)
    damage(artifact)
    assert cache.fetch(KEY) is None
    assert len(cache.warnings) == 1
    assert "\n" not in cache.warnings[0]
    assert "it will be made again" in cache.warnings[0]
    assert str(artifact.path) in cache.warnings[0]
    assert cache.peek(KEY) is None
    if damage is not delete_all:
        assert len(list(cache.layout.quarantine.glob("*.reason.txt"))) == 1
    assert produce(cache) == artifact
    found = Cache(tmp_path).fetch(KEY)
    assert found is not None
    assert read(found) == GOOD
    assert cache.verify().ok


def test_another_valid_object_in_its_place(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    one, other = produce(cache), produce(cache, OTHER, {"a.bin": b"FIRST", "sub/b.bin": b"second"})
    shutil.rmtree(one.path)
    shutil.copytree(other.path, one.path)
    assert cache.fetch(KEY) is None
    assert "a.bin has changed" in cache.warnings[0]
    assert cache.fetch(OTHER) == other


@given(name=st.sampled_from(sorted(GOOD)), content=st.binary(max_size=12))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_content_is_found(tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"))
    artifact = produce(cache)
    _overwrite(artifact.path / name, content)
    assert (cache.fetch(KEY) == artifact) == (content == GOOD[name])


def test_verify_reads_even_what_looks_unchanged(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    artifact = produce(cache)
    flip(artifact)
    # As a disk does that loses bits: the index believes to know the file as it is.
    status = (artifact.path / "a.bin").stat()
    stamp = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    with sqlite3.connect(tmp_path / "index.sqlite") as db:
        db.execute("UPDATE objects SET stamps = json_set(stamps, '$[0]', json(?))", (str(stamp),))
    assert cache.fetch(KEY) == artifact
    result = cache.verify()
    assert not result.ok
    assert result.faults[0].damage == "the content of a.bin has changed"
    assert cache.fetch(KEY) is None


def test_a_moved_cache_is_hashed_once_more(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "here")
    artifact = produce(cache)
    cache.close()
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    moved = Cache(tmp_path / "there")
    _overwrite(tmp_path / "there" / artifact.path.relative_to(tmp_path / "here") / "a.bin", b"fiRst")
    assert moved.fetch(KEY) is None
    assert cache.fetch(KEY) == artifact


def test_a_damaged_object_is_not_taken_for_a_new_result(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    artifact = produce(cache)
    flip(artifact)
    assert produce(cache, OTHER) == artifact
    assert read(artifact) == GOOD
    assert "damaged" in cache.warnings[0]


def test_an_object_without_an_entry_is_adopted(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    artifact = produce(cache)
    inode = (artifact.path / "a.bin").stat().st_ino
    cache.close()
    for path in tmp_path.glob("index.sqlite*"):
        path.unlink()
    cache = Cache(tmp_path)
    assert cache.fetch(KEY) is None
    assert cache.verify().unlisted == 1
    assert produce(cache) == artifact
    assert (artifact.path / "a.bin").stat().st_ino == inode
    assert cache.fetch(KEY) == artifact
    assert cache.warnings == []


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to look like one" * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6000])


def holes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")


def other_tables(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE records")


@pytest.mark.parametrize("damage", [garbage, empty, half, holes, newer, other_tables], ids=lambda f: f.__name__)
def test_a_bad_index_is_a_miss(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    cache = Cache(tmp_path)
    artifact = produce(cache)
    cache.close()
    damage(tmp_path / "index.sqlite")
    cache = Cache(tmp_path)
    assert cache.fetch(KEY) is None
    assert produce(cache) == artifact
    assert cache.fetch(KEY) == artifact
    assert cache.verify().ok
    if damage is not empty:  # which is what a new index looks like
        assert len(cache.warnings) == 1
        assert "index was damaged" in cache.warnings[0]
        assert len(list(cache.layout.quarantine.glob("index.sqlite-*"))) >= 1


def test_an_index_that_goes_bad_while_it_is_open(tmp_path: Path) -> None:
    cache, other = Cache(tmp_path), Cache(tmp_path)
    artifact = produce(cache)
    assert other.fetch(KEY) == artifact
    cache.close()
    other.index.close()
    garbage(tmp_path / "index.sqlite")
    assert other.fetch(KEY) is None
    assert produce(other) == artifact
    assert Cache(tmp_path).fetch(KEY) == artifact


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET document = '{'",
        "UPDATE records SET metrics = '[1]'",
        "UPDATE records SET created = 'yesterday'",
        "UPDATE records SET digest = ''",
        "UPDATE objects SET files = 'x'",
        "UPDATE objects SET files = '[[1]]'",
        "UPDATE objects SET stamps = '[[1, 2]]'",
        "UPDATE objects SET attributes = 'null'",
        "UPDATE objects SET kind = 'from the future'",
    ],
)
def test_a_bad_row_is_a_miss(tmp_path: Path, statement: str) -> None:
    cache = Cache(tmp_path)
    produce(cache, workflow="w", node="n")
    with sqlite3.connect(tmp_path / "index.sqlite") as db:
        db.execute(statement)
    assert cache.fetch(KEY) is None
    cache.last_record("w", "n")
    cache.ls()
    artifact = produce(cache)
    assert read(artifact) == GOOD
    assert Cache(tmp_path).fetch(KEY) == artifact
