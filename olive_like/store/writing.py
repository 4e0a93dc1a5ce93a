"""What changes a store: a result becomes a key's artifact, a damaged artifact is moved away."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from olive_like.errors import StoreError
from olive_like.store import files, tables
from olive_like.store.check import check
from olive_like.store.locks import FileLock
from olive_like.store.model import Manifest, Record
from olive_like.store.publish import place, set_aside, still_as_sealed
from olive_like.store.trouble import storing

if TYPE_CHECKING:
    from olive_like.store.store import Store

_ATTEMPTS = 20  # each of them lost to another process


def publish(
    store: Store, key: str, staging: Path, manifest: Manifest, record: Record, replaces: bool = False
) -> Manifest:
    """Put a sealed folder in its place and write the record; says what the key has now."""
    scratch = store.layout.scratch / key
    try:
        with storing(store.layout.object(manifest.digest), manifest.size):
            store.keep([manifest.digest, *manifest.refs.values()])
            first = _first_result(store, key, manifest.digest, replaces)
            if first is not None:
                return first
            settled = _settle(store, staging, manifest)
            _write_record(store, replace(record, key=key, digest=manifest.digest), settled)
            if scratch.exists():
                files.remove_tree(scratch)
            return settled
    finally:
        if staging.exists():
            files.remove_tree(staging)


def _first_result(store: Store, key: str, digest: str, replaces: bool) -> Manifest | None:
    """What the key has already and keeps, if that is another artifact and whole."""
    old = store.record(key)
    if old is None or old.digest == digest:
        return None
    first = None if replaces else store.claim(old.digest)
    if first is not None and check(store.layout.object(first.digest), first).damage:
        report_damage(store, first, f"{old.pass_name} {key[:12]}")
        first = None
    store.on_warning(
        f"{old.pass_name or 'the pass'} ({key[:12]}) is not deterministic: the same inputs and settings gave "
        f"{old.digest[:12]} before and {digest[:12]} now; "
        + ("the first result is kept" if first else "the new result replaces the first")
    )
    others = [*old.extra.get("other_digests", []), digest if first else old.digest]
    noted = replace(old, extra={**old.extra, "other_digests": others})
    store.index.write(lambda connection: tables.put_record(connection, noted))
    return first


def _settle(store: Store, staging: Path, manifest: Manifest) -> Manifest:
    """Put the folder in place, or find the same artifact there."""
    if damage := still_as_sealed(staging, manifest):
        return _settled_before(store, staging, manifest, damage)
    target = store.layout.object(manifest.digest)
    for _ in range(_ATTEMPTS):
        if not os.path.lexists(target):
            placed = place(staging, target, manifest)
            if placed is not None:
                return placed
            continue
        found = store.object(manifest.digest)
        there = found[0] if found else replace(manifest, stamps=())
        verdict = check(target, there)
        if not verdict.damage:
            return replace(manifest, stamps=verdict.stamps)
        report_damage(store, there, f"digest {manifest.digest[:12]}")
    raise StoreError(f"{target} cannot be put in place: something else comes there again and again")


def _settled_before(store: Store, staging: Path, manifest: Manifest, damage: str) -> Manifest:
    """The folder is not as sealed: fine if it went into the store already, for another key."""
    there = None if staging.exists() else store.object(manifest.digest)
    if there is None:
        raise StoreError(f"{staging} changed after its pass had ended: {damage}", "Run again.")
    return there[0]


def _write_record(store: Store, record: Record, manifest: Manifest) -> None:
    now = time.time()
    old = store.record(record.key)
    others = old.extra.get("other_digests") if old else None
    extra = {**record.extra, "other_digests": others} if others else record.extra
    record = replace(record, created=record.created or now, extra=extra)

    def write(connection: sqlite3.Connection) -> None:
        tables.put_object(connection, manifest, now)
        tables.put_record(connection, record)
        if record.workflow:
            tables.put_use(connection, record.workflow, record.node, record.key, record.run_id)

    store.index.write(write)


def report_damage(store: Store, manifest: Manifest, name: str) -> None:
    """Move a damaged object away and say so; `name` is what the user knows it by."""
    path = store.layout.object(manifest.digest)
    if store.over:
        store.on_warning(f"the artifact of {name} at {path} is damaged; it will be made again")
        return
    damage, aside = displace(store, manifest)
    if damage:
        where = f", now {aside}" if aside else ""
        store.on_warning(f"the artifact of {name} is damaged: {damage} ({path}{where}); it will be made again")


def displace(store: Store, manifest: Manifest, full: bool = False) -> tuple[str, Path | None]:
    """Quarantine an object that is damaged; says how, and where it is now. Leaves a whole one alone."""
    path = store.layout.object(manifest.digest)
    # Everybody who moves a damaged object away holds this lock and looks again: it may be gone already, and
    # a new one in its place.
    with storing(path, manifest.size), FileLock(store.layout.locks / f"object-{manifest.digest}"):
        damage = check(path, manifest, full).damage
        if not damage:
            return "", None
        store.index.write(lambda connection: tables.drop_objects(connection, [manifest.digest]))
        return damage, set_aside(path, store.layout.quarantine, damage) if os.path.lexists(path) else None
