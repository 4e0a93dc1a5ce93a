"""Whatever I/O operation is the last one, or fails: nothing is lost, and the next run completes."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from olive_like.store import Record, seal
from tests.store.faults import ERRNOS, check_sound, count_calls, fail_at, in_child, kill_at, leftovers, publish
from tests.store.helpers import KEY, Cache, fill, produce

OTHER = "cd" * 32


def publish_many_files(root: Path) -> None:
    """So many that they are synced by threads."""
    with Cache(root) as cache:
        staging = cache.staging(OTHER)
        try:
            fill(staging, {f"{n}.bin": b"%d" % n for n in range(20)})
            cache.commit(OTHER, staging, seal(staging, "null", {}, {}), Record(OTHER))
        finally:
            if staging.exists():
                cache.discard(staging)


def fetch(root: Path) -> None:
    with Cache(root) as cache:
        cache.fetch(KEY)


def gc(root: Path) -> None:
    with Cache(root) as cache:
        cache.gc(max_size=0)


def verify(root: Path) -> None:
    with Cache(root) as cache:
        cache.verify()


def nothing(root: Path) -> None:
    """A store that is not there yet."""


def stored(root: Path) -> None:
    publish(root)


def damaged(root: Path) -> None:
    publish(root)
    with Cache(root) as cache:
        path = cache.path(KEY) / "a.bin"
    path.chmod(0o644)
    path.write_bytes(b"fiRst")


def bad_index(root: Path) -> None:
    publish(root)
    for path in root.glob("index.sqlite-*"):
        path.unlink()
    (root / "index.sqlite").write_bytes(b"garbage" * 1000)


def dead_run(root: Path) -> None:
    """What a killed run left: a staging folder, a lease, and an object without an entry."""
    cache = Cache(root)
    produce(cache, OTHER, {"x": b"other"})
    cache.close()
    for path in root.glob("index.sqlite*"):
        path.unlink()
    fill(root / "staging" / "0123456789abcdef.0.abab", {"half": b"fini"})
    (root / "leases" / "0123456789abcdef").write_text("ab" * 32)


SCENES: list[tuple[Callable[[Path], None], Callable[[Path], None]]] = [
    (nothing, publish),
    (stored, publish),
    (damaged, publish),
    (damaged, fetch),
    (bad_index, publish),
    (dead_run, publish),
    (stored, gc),
    (dead_run, gc),
    (damaged, verify),
    (stored, publish_many_files),
]
IDS = [f"{before.__name__}-{work.__name__}" for before, work in SCENES]


class Scene:
    """A folder as it was before, as often as one likes."""

    def __init__(self, quick_folder: Path, before: Callable[[Path], None]) -> None:
        self._template, self.root = quick_folder / "template", quick_folder / "cache"
        before(self._template)

    def reset(self) -> Path:
        shutil.rmtree(self.root, ignore_errors=True)
        if self._template.exists():
            shutil.copytree(self._template, self.root)
        return self.root


@pytest.mark.parametrize(("before", "work"), SCENES, ids=IDS)
def test_killed_at_every_call(quick_folder: Path, before: Callable[[Path], None], work: Callable[[Path], None]) -> None:
    scene = Scene(quick_folder, before)
    calls = count_calls(lambda: work(scene.reset()))
    assert calls >= 2
    for n in range(1, calls + 1):
        root = scene.reset()
        outcome = in_child(lambda: work(root), kill_at(n))  # noqa: B023
        assert outcome.killed, f"call {n} of {calls} did not happen"
        check_sound(root)


# Every error where it matters most; elsewhere one of them, for what follows is the same for all.
FAILURES = [(*SCENES[0], code) for code in ERRNOS] + [(*scene, errno.EIO) for scene in SCENES[1:]]


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize(
    ("before", "work", "code"),
    FAILURES,
    ids=[f"{b.__name__}-{w.__name__}-{errno.errorcode[c]}" for b, w, c in FAILURES],
)
def test_failing_at_every_call(
    quick_folder: Path, before: Callable[[Path], None], work: Callable[[Path], None], code: int, for_ever: bool
) -> None:
    scene = Scene(quick_folder, before)
    calls = count_calls(lambda: work(scene.reset()))
    refused = 0
    for n in range(1, calls + 1):
        root = scene.reset()
        outcome = in_child(lambda: work(root), fail_at(n, code, for_ever))  # noqa: B023
        assert not outcome.killed
        assert not outcome.crash, f"call {n} of {calls}: {outcome.crash}"
        if outcome.error is not None:
            refused += 1
            assert str(root) in outcome.error.message
            assert "\n" not in outcome.error.message
            own = [name for name in leftovers(root) if not name.startswith("0123456789abcdef")]
            assert own == [], f"call {n} of {calls} left {own}"
        check_sound(root)
    assert refused > 0 or work is verify


def test_the_message_names_path_bytes_and_a_way_out(quick_folder: Path) -> None:
    root = quick_folder / "cache"
    publish(root)
    messages = []
    calls = count_calls(lambda: produce(Cache(root), OTHER, {"big": b"x" * 12345}) and None)
    for n in range(1, calls + 1):
        shutil.rmtree(root)
        publish(root)
        outcome = in_child(
            lambda: produce(Cache(root), OTHER, {"big": b"x" * 12345}) and None, fail_at(n, errno.ENOSPC, False)
        )
        if outcome.error is not None:
            messages.append(outcome.error.message)
    assert sum("12,345 bytes" in message for message in messages) >= 4
    assert all("No space left on device" in message for message in messages)
