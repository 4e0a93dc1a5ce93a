"""What is in a store: listed, found by the beginning of a name, and read through."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from olive_like.errors import StoreError
from olive_like.store import tables
from olive_like.store.check import check
from olive_like.store.model import Record
from olive_like.store.writing import displace

if TYPE_CHECKING:
    from olive_like.store.store import Store

_SHORTEST = 4


class Maker(NamedTuple):
    """A key that gave an artifact, and the pass that it stands for."""

    key: str
    pass_name: str
    node: str
    workflow: str


@dataclass(frozen=True)
class Listed:
    """One artifact in the store."""

    digest: str
    kind: str
    size: int
    created: float
    last_used: float
    path: Path
    made_by: tuple[Maker, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "digest": self.digest, "kind": self.kind, "bytes": self.size, "created": self.created,
            "last_used": self.last_used, "path": str(self.path), "made_by": [maker._asdict() for maker in self.made_by],
        }  # fmt: skip


def listing(store: Store) -> list[Listed]:
    """All artifacts that the index knows, the latest used first."""

    def find(connection: sqlite3.Connection) -> list[Listed]:
        makers: dict[str, list[Maker]] = {}
        for digest, *maker in connection.execute("SELECT digest, key, pass_name, node, workflow FROM records"):
            makers.setdefault(digest, []).append(Maker(*maker))
        query = "SELECT digest, kind, size, created, last_used FROM objects ORDER BY last_used DESC, digest"
        return [
            Listed(digest, kind, size, created, used, store.layout.object(digest), tuple(makers.get(digest, ())))
            for digest, kind, size, created, used in connection.execute(query)
        ]

    nothing: list[Listed] = []
    return store.index.read(find, nothing)


def unlisted(store: Store) -> Iterator[Path]:
    """Object folders that the index does not know: from an interrupted commit, or an index that was lost."""
    known = {listed.digest for listed in listing(store)}
    for shard in _folders(store.layout.objects):
        for path in _folders(shard):
            if path.name not in known:
                yield path


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def find(store: Store, name: str) -> Record:
    """The record whose key, or whose artifact's digest, begins with `name`."""
    if len(name) < _SHORTEST or not all(letter in "0123456789abcdef" for letter in name.lower()):
        raise StoreError(f"{name!r} is no key", f"Give {_SHORTEST} or more hexadecimal digits; `cache ls` shows keys.")
    low, high = name.lower(), name.lower() + "g"
    nothing: list[Record] = []

    def search(column: str) -> list[Record]:
        where = f"WHERE {column} >= ? AND {column} < ? ORDER BY created DESC LIMIT 10"
        return store.index.read(lambda connection: tables.all_records(connection, where, (low, high)), nothing)

    found = search("key")
    if len(found) > 1:
        raise StoreError(f"{name} begins several keys: {', '.join(r.key[:16] for r in found)}", "Give more digits.")
    found = found or search("digest")
    if len({record.digest for record in found}) > 1:
        raise StoreError(
            f"{name} begins several digests: {', '.join(r.digest[:16] for r in found)}", "Give more digits."
        )
    if not found:
        raise StoreError(f"no key and no artifact begins with {name}", "`olive-like cache ls` shows what there is.")
    return store.peek(found[0].key) or found[0]


class Fault(NamedTuple):
    """An artifact that was found damaged."""

    digest: str
    damage: str
    moved_to: Path | None


@dataclass(frozen=True)
class Verification:
    """What reading everything has shown."""

    artifacts: int
    size: int
    faults: tuple[Fault, ...]
    unlisted: int  # folders that no record leads to: they are made anew or adopted when they are needed

    @property
    def ok(self) -> bool:
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok, "artifacts": self.artifacts, "bytes": self.size, "unlisted": self.unlisted,
            "damaged": [
                {"digest": fault.digest, "damage": fault.damage, "moved_to": fault.moved_to and str(fault.moved_to)}
                for fault in self.faults
            ],
        }  # fmt: skip


def verify(store: Store, on_progress: Callable[[Listed], None] = lambda _: None) -> Verification:
    """Read and hash every artifact; move the damaged ones to quarantine."""
    everything, faults, size = listing(store), [], 0
    for listed in everything:
        on_progress(listed)
        manifest = store.claim(listed.digest)
        if manifest is None:
            continue  # gc took it meanwhile
        size += listed.size
        if check(store.layout.object(listed.digest), manifest, full=True).damage:
            damage, moved = displace(store, manifest, full=True)
            if damage:
                faults.append(Fault(listed.digest, damage, moved))
    faults += [Fault(digest, "its entry in the index cannot be read", None) for digest in _bad_rows(store, everything)]
    return Verification(len(everything), size, tuple(faults), sum(1 for _ in unlisted(store)))


def _bad_rows(store: Store, everything: list[Listed]) -> list[str]:
    """Entries that cannot be read; they are removed."""

    def search(connection: sqlite3.Connection) -> list[str]:
        bad = []
        for listed in everything:
            try:
                tables.get_object(connection, listed.digest)
            except tables.BadRow:
                bad.append(listed.digest)
        tables.drop_objects(connection, bad)
        return bad

    return store.index.write(search) if everything else []
