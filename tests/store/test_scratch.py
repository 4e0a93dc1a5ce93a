"""An interrupted pass finds its checkpoints again, and so does one of another key that can go on from them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from olive_like.errors import StoreError
from olive_like.store import files, locks
from tests.store.helpers import KEY, Cache, produce

OTHER, FAMILY = "cd" * 32, "ef" * 32


@pytest.fixture
def left(tmp_path: Path) -> Cache:
    """A store where a pass was interrupted."""
    (Cache(tmp_path).scratch(KEY, FAMILY) / "checkpoint").write_text("step 3")
    return Cache(tmp_path)


def test_another_key_of_the_family_takes_over(left: Cache) -> None:
    (left.layout.scratch / KEY / "more").mkdir()
    (left.layout.scratch / KEY / "more" / "state").write_text("step 3 too")
    folder = left.scratch(OTHER, FAMILY)
    assert (folder / "checkpoint").read_text() == "step 3"
    assert (folder / "more" / "state").read_text() == "step 3 too"
    shutil.rmtree(folder)
    assert (left.scratch(KEY, FAMILY) / "checkpoint").exists(), "each has its own"
    assert sorted(path.name for path in left.layout.scratch.iterdir()) == [KEY]


def test_what_was_done_with_it_leaves_the_other_key_its_own(left: Cache) -> None:
    left.scratch(OTHER, FAMILY)
    produce(left, OTHER)
    assert not (left.layout.scratch / OTHER).exists()
    assert (left.layout.scratch / KEY / "checkpoint").read_text() == "step 3"


def test_a_file_system_without_links(left: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    assert (left.scratch(OTHER, FAMILY) / "checkpoint").read_text() == "step 3"


def test_half_a_copy_is_begun_again(left: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    (left.layout.scratch / KEY / "another").write_text("")

    def full(operation: str, *paths: str) -> None:
        if operation == "link" and "another" in paths[0]:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(files, "hook", full)
    with pytest.raises(StoreError):
        left.scratch(OTHER, FAMILY)
    monkeypatch.setattr(files, "hook", None)
    assert {path.name for path in left.scratch(OTHER, FAMILY).iterdir()} == {"checkpoint", "another", ".family"}


def test_without_locks_nobody_knows_what_runs(left: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    assert not (left.scratch(OTHER, FAMILY) / "checkpoint").exists()


def test_what_is_no_relation_does_not(left: Cache) -> None:
    for family in ("", "01" * 32):
        assert not (left.scratch(OTHER, family) / "checkpoint").exists()
    assert (left.scratch(KEY, FAMILY) / "checkpoint").exists()


def test_what_still_runs_is_left_alone(left: Cache) -> None:
    with Cache(left.root).lock(KEY):
        assert not (left.scratch(OTHER, FAMILY) / "checkpoint").exists()
    assert (left.scratch(OTHER, FAMILY) / "checkpoint").exists(), "an attempt before does not count"


def test_its_own_comes_first(left: Cache) -> None:
    own = left.scratch(OTHER)
    (own / "checkpoint").write_text("step 1")
    assert (left.scratch(OTHER, FAMILY) / "checkpoint").read_text() == "step 1"
    assert (left.layout.scratch / KEY / "checkpoint").exists()
