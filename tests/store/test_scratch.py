"""An interrupted pass finds its checkpoints again, and so does one of another key that can go on from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.helpers import KEY, Cache

OTHER, FAMILY = "cd" * 32, "ef" * 32


@pytest.fixture
def left(tmp_path: Path) -> Cache:
    """A store where a pass was interrupted."""
    (Cache(tmp_path).scratch(KEY, FAMILY) / "checkpoint").write_text("step 3")
    return Cache(tmp_path)


def test_another_key_of_the_family_takes_over(left: Cache) -> None:
    assert (left.scratch(OTHER, FAMILY) / "checkpoint").read_text() == "step 3"
    assert not (left.layout.scratch / KEY).exists()
    assert (left.scratch(KEY, FAMILY) / "checkpoint").exists(), "and back again"


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
