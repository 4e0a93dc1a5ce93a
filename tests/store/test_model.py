"""Any sequence of uses and accidents, against a model of what a store is: a mapping whose entries may get lost."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.store.helpers import Cache, produce, read

KEYS = st.sampled_from([f"{n:064x}" for n in range(3)])
CONTENTS = st.sampled_from([{"a": b"1"}, {"a": b"2"}, {"a": b"1", "b/c": b""}])


class Uses(RuleBasedStateMachine):
    """`first` has each key's first result: the only one that it may ever have while that is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.cache = Cache(self.root)
        self.first: dict[str, dict[str, bytes]] = {}
        self.certain: set[str] = set()  # keys whose artifact no accident has met

    @rule(key=KEYS, content=CONTENTS)
    def run(self, key: str, content: dict[str, bytes]) -> None:
        got = read(produce(self.cache, key, content))
        assert got in (content, self.first.get(key))
        if key in self.certain:
            assert got == self.first[key]
        self.first[key] = got
        self.certain.add(key)

    @rule(key=KEYS)
    def fetch(self, key: str) -> None:
        found = self.cache.fetch(key)
        assert found is None or read(found) == self.first[key]
        assert found is not None or key not in self.certain

    @rule(key=KEYS, content=st.binary(max_size=2))
    def damage(self, key: str, content: bytes) -> None:
        record = self.cache.peek(key)
        path = record and self.cache.layout.object(record.digest) / "a"
        if path and path.exists() and path.read_bytes() != content:
            path.unlink()
            path.write_bytes(content)
            same = [other for other, first in self.first.items() if first == self.first[key]]
            self.certain -= set(same)

    @rule(size=st.integers(0, 4))
    def gc_by_another(self, size: int) -> None:
        before = {key for key in self.certain if self.cache.fetch(key)}  # and so claimed
        with Cache(self.root) as other:
            other.gc(max_size=size)
        assert before == {key for key in self.certain if self.cache.fetch(key)}

    @rule()
    def gc_of_everything(self) -> None:
        self.cache.close()
        assert self.cache.gc(max_size=0).kept == 0
        self.certain.clear()
        assert self.cache.ls() == []

    @rule()
    def reopen(self) -> None:
        self.cache.close()
        self.cache = Cache(self.root)

    @rule()
    def lose_the_index(self) -> None:
        self.cache.close()
        for path in self.root.glob("index.sqlite*"):
            path.unlink()
        self.cache = Cache(self.root)
        self.certain.clear()

    @rule()
    def verify(self) -> None:
        result = self.cache.verify()
        if len(self.certain) == len(self.first) and not self.cache.warnings:
            assert result.ok

    @invariant()
    def nothing_is_left_in_staging(self) -> None:
        assert not self.cache.layout.staging.exists() or list(self.cache.layout.staging.iterdir()) == []

    def teardown(self) -> None:
        self.cache.close()
        shutil.rmtree(self.root)


Uses.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestUses = Uses.TestCase
