"""The store: key -> artifact, every artifact whole or absent, every reading verified."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from olive_like.artifacts import Artifact
from olive_like.errors import StoreError
from olive_like.store import archive, files, history, leases, tables
from olive_like.store.check import check
from olive_like.store.collect import Collection, collect
from olive_like.store.index import Index
from olive_like.store.inputs import Inputs
from olive_like.store.layout import Layout, private_overlay
from olive_like.store.listing import Listed, Verification, find, listing, verify
from olive_like.store.locks import FileLock
from olive_like.store.model import Manifest, Record, Stamp
from olive_like.store.publish import place, set_aside, still_as_sealed
from olive_like.store.resolve import Known, build, in_hand, remember_external
from olive_like.store.trouble import storing

_counter = itertools.count()


class Store:
    """Artifacts and records below one folder, shared by threads, processes and projects.

    Cheap to make: nothing is opened or created before it is needed. Artifacts that it hands out stay where
    they are until `close`, or until this process ends, whatever `gc` does meanwhile.
    """

    def __init__(self, root: Path, on_warning: Callable[[str], None] = lambda _: None, below: Store | None = None):
        self.root = Path(root).absolute()
        self.layout = Layout(self.root)
        self.on_warning = on_warning
        self.below = below  # the read-only store that this one lies over
        self._lease: leases.Lease | None = None

    # ------------------------------------------------------------------ keys to artifacts

    def peek(self, key: str) -> Record | None:
        """What the index says about a key, if its artifact should be there. No file is looked at."""
        if self._over and (record := self._over.peek(key)):
            return record
        found = self._look_up(key)
        return None if found is None else tables.with_manifest(*found)

    def fetch(self, key: str, known: Iterable[Artifact] = ()) -> Artifact | None:
        """The verified artifact of a key; None where there is none that is whole.

        `known` are artifacts in hand that this one may stand on, the run's input models above all.
        """
        if self._over and (artifact := self._over.fetch(key, known)):
            return artifact
        found = self._look_up(key)
        if found is None:
            return None
        return self._use(found[1], f"{found[0].pass_name or 'key'} {key[:12]}", in_hand(known))

    def staging(self, key: str) -> Path:
        """A new, empty folder for the result of a key. Commit or discard it."""
        if self._over:
            return self._over.staging(key)
        path = self.layout.staging / f"{self._claim([])}.{next(_counter)}.{key[:12]}"
        with storing(path):
            files.make_new_folder(path)
        return path

    def discard(self, staging: Path) -> None:
        """Remove a staging folder that will not be committed."""
        files.remove_tree(staging)

    def scratch(self, key: str) -> Path:
        """The folder where an interrupted pass of this key finds its checkpoints again."""
        if self._over:
            return self._over.scratch(key)
        path = self.layout.scratch / key
        with storing(path):
            files.make_folder(path)
        return path

    def commit(
        self, key: str, staging: Path, manifest: Manifest, record: Record, known: Iterable[Artifact] = ()
    ) -> Artifact:
        """Make a sealed staging folder the artifact of a key.

        The staging folder is gone afterwards, also where this fails. A key that has another artifact
        already keeps it: the pass is not deterministic, which is said and recorded.
        """
        if self._over:
            return self._over.commit(key, staging, manifest, record, known)
        kept = self.publish(key, staging, manifest, record)
        return build(self, kept, in_hand(known))

    def publish(self, key: str, staging: Path, manifest: Manifest, record: Record) -> Manifest:
        """`commit` for who does not need the artifact: says what the key has now."""
        if self._over:
            return self._over.publish(key, staging, manifest, record)
        scratch = self.layout.scratch / key
        try:
            with storing(self.layout.object(manifest.digest), manifest.size):
                self._claim([manifest.digest, *manifest.refs.values()])
                first = self._first_result(key, manifest.digest)
                if first is not None:
                    return first
                settled = self._settle(staging, manifest)
                self._write_record(replace(record, key=key, digest=manifest.digest), settled)
                if scratch.exists():
                    files.remove_tree(scratch)
                return settled
        finally:
            if staging.exists():
                files.remove_tree(staging)

    @contextmanager
    def lock(self, key: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Be the only one, of all processes, to work on a key. Look again for the key once you have it."""
        lock = self.key_lock(key)
        with storing(lock.path):
            lock.acquire(on_wait)
        if not lock.real:
            self.on_warning(f"{lock.path.parent} knows no locks: two runs at a time may do the same work twice")
        try:
            yield
        finally:
            lock.release()

    def key_lock(self, key: str) -> FileLock:
        """The same lock for who cannot block: `try_acquire()`, `release()`."""
        if self._over:
            return self._over.key_lock(key)
        self._begun  # noqa: B018
        return FileLock(self.layout.locks / f"key-{key}")

    # ------------------------------------------------------------------ inputs

    def file_digest(self, path: Path) -> str:
        """BLAKE3 of a file's content, remembered until the file changes."""
        return self._inputs.file(Path(path))

    def tree_digest(
        self,
        path: Path,
        kind: str,
        attributes: Mapping[str, Any],
        refs: Mapping[str, str] | None = None,
        only: Sequence[str] | None = None,
    ) -> Manifest:
        """Manifest of a folder or file outside of the store; `only` are globs of the files that count."""
        manifest = self._inputs.tree(Path(path), kind, attributes, refs or {}, only)
        if only is None:
            remember_external(self._over or self, Path(path), manifest)
        return manifest

    # ------------------------------------------------------------------ what was

    def used(self, key: str, workflow: str, node: str, run_id: str = "") -> None:
        """Note that a node of a workflow has this key now, for `last_record`."""
        if self._over:
            return self._over.used(key, workflow, node, run_id)
        if history.last_key(self.index, workflow, node) != key:
            self.index.write(lambda connection: tables.put_use(connection, workflow, node, key, run_id))
        return None

    def last_record(self, workflow: str, node: str) -> Record | None:
        """The record that a node of a workflow had when it last ran or hit."""
        return next(iter(self.history(workflow, node, 1)), None)

    def history(self, workflow: str, node: str, limit: int = 20) -> list[Record]:
        """Records of a node, the latest first, also of those whose artifacts are gone."""
        records = self._over.history(workflow, node, limit) if self._over else []
        return (records + history.records(self.index, workflow, node, limit))[:limit]

    def record(self, key: str) -> Record | None:
        """The record of a key, whether or not its artifact is still there."""
        try:
            record = self.index.read(lambda connection: tables.get_record(connection, key), None)
        except tables.BadRow:
            record = None
        return record or (self._over.record(key) if self._over else None)

    # ------------------------------------------------------------------ keeping house

    def pin(self, digest: str, output: Path) -> None:
        """Keep an artifact from gc as long as the output's `provenance.json` names it."""
        target = self._over or self
        row = (str(Path(output).absolute()), digest, time.time())
        target.index.write(lambda connection: connection.execute("INSERT OR REPLACE INTO pins VALUES (?,?,?)", row))

    def unpin(self, output: Path) -> None:
        row = (str(Path(output).absolute()),)
        self.index.write(lambda connection: connection.execute("DELETE FROM pins WHERE path = ?", row))

    def gc(self, max_size: int | None = None, older_than: float | None = None, dry_run: bool = False) -> Collection:
        """Remove artifacts unused for `older_than` seconds, then the longest unused until `max_size` bytes are left.

        Nothing goes that a live process uses or a pinned output refers to. Leftovers of dead processes go too.
        """
        if self._over:
            return self._over.gc(max_size, older_than, dry_run)
        return collect(self, max_size, older_than, dry_run)

    def verify(self, on_progress: Callable[[Listed], None] = lambda _: None) -> Verification:
        """Hash everything anew; damaged artifacts go to quarantine."""
        return verify(self, on_progress)

    def ls(self) -> list[Listed]:
        """Every artifact, the latest used first."""
        return listing(self) + (listing(self._over) if self._over else [])

    def show(self, name: str) -> Record:
        """The record whose key, or whose artifact's digest, begins with `name`."""
        return find(self, name)

    def path(self, name: str) -> Path:
        """The folder of the artifact whose key or digest begins with `name`, verified."""
        record = self.show(name)
        artifact = self.fetch(record.key)
        if artifact is None:
            raise StoreError(
                f"the artifact of {record.key[:16]} is not in the store any more", "Run its workflow again."
            )
        return artifact.path

    def export(self, names: Iterable[str], file: Path) -> list[Record]:
        """Write the artifacts of some keys, and what they stand on, into one file."""
        return archive.export(self, names, Path(file))

    def import_(self, file: Path) -> list[Record]:
        """Take in what `export` wrote, verified."""
        return archive.import_(self, Path(file))

    def use(self, digest: str, name: str, known: Known) -> Artifact | None:
        """Claim, verify and hand out an object; `name` is what warnings call it."""
        found = self._object(digest)
        return self._use(found[0], name, known) if found else None

    def claim(self, digest: str) -> Manifest | None:
        """Keep an object from gc, and say what it consists of, if it is there."""
        if not self._over:
            self._claim([digest])
        found = self._object(digest)
        return found[0] if found else None

    def close(self) -> None:
        """Let go of the artifacts in use, and of the index."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None
        if "_over" in self.__dict__ and self._over:
            self._over.close()
        if "index" in self.__dict__:
            self.index.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ inside

    @cached_property
    def index(self) -> Index:
        return Index(self.layout.index_file(), self.on_warning, self.layout.is_writable)

    @cached_property
    def _over(self) -> Store | None:
        """Where this store is read-only: the private one that takes what is new."""
        if self.layout.is_writable():
            return None
        return Store(private_overlay(self.root, self.on_warning), self.on_warning, below=self)

    @cached_property
    def _begun(self) -> None:
        """The folders exist, and what killed processes left in staging is gone."""
        self.layout.begin()
        for path in self.layout.staging.iterdir():
            if leases.is_dead(self.layout.leases, path.name.partition(".")[0]):
                files.remove_tree(path)

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs(self._over.index, self.index) if self._over else Inputs(self.index)

    def _claim(self, digests: Iterable[str]) -> str:
        """Keep artifacts from gc as long as this process needs the store; says the lease's name."""
        self._begun  # noqa: B018
        with storing(self.layout.leases), FileLock(self.layout.locks / "gc", shared=True):
            if self._lease is None:
                self._lease = leases.Lease(self.layout.leases)
            self._lease.add(digests)
            return self._lease.name

    def _look_up(self, key: str) -> tuple[Record, Manifest, float] | None:
        def find(connection: sqlite3.Connection) -> tuple[Record, Manifest, float] | None:
            record = tables.get_record(connection, key)
            found = tables.get_object(connection, record.digest) if record else None
            return (record, *found) if record and found else None

        try:
            return self.index.read(find, None)
        except tables.BadRow as error:
            self.on_warning(f"{error}; it counts as absent")
            return None

    def _object(self, digest: str) -> tuple[Manifest, float] | None:
        try:
            return self.index.read(lambda connection: tables.get_object(connection, digest), None)
        except tables.BadRow:
            return None

    def _use(self, manifest: Manifest, name: str, known: Known) -> Artifact | None:
        """Claim, verify and hand out an object."""
        if not self._over:
            self._claim([manifest.digest, *manifest.refs.values()])
            if not self.index.read(lambda connection: tables.has_object(connection, manifest.digest), False):
                return None  # gc was faster
        path = self.layout.object(manifest.digest)
        verdict = check(path, manifest)
        if verdict.damage:
            self._report_damage(manifest, name)
            return None
        if not self._over:
            self._note_use(manifest, verdict.stamps if verdict.hashed else None)
        try:
            return build(self, manifest, known)
        except StoreError as error:
            self.on_warning(f"{error.message}; {name} counts as absent")
            return None

    def _note_use(self, manifest: Manifest, stamps: tuple[Stamp, ...] | None) -> None:
        now = time.time()
        try:
            if stamps is not None:
                fresh = replace(manifest, stamps=stamps)
                self.index.write(lambda connection: tables.put_object(connection, fresh, now))
                return
            found = self._object(manifest.digest)
            if found is not None and tables.needs_touch(found[1], now):
                self.index.write(lambda connection: tables.touch(connection, manifest.digest, now))
        except StoreError as error:  # the artifact is whole, only the note of it cannot be kept
            self.on_warning(error.message)

    def _report_damage(self, manifest: Manifest, name: str) -> None:
        path = self.layout.object(manifest.digest)
        if self._over:
            self.on_warning(f"the artifact of {name} at {path} is damaged; it will be made again")
            return
        damage, aside = self.displace(manifest)
        if damage:
            where = f", now {aside}" if aside else ""
            self.on_warning(f"the artifact of {name} is damaged: {damage} ({path}{where}); it will be made again")

    def displace(self, manifest: Manifest, full: bool = False) -> tuple[str, Path | None]:
        """Quarantine an object that is damaged; says how, and where it is now. Leaves a whole one alone."""
        path = self.layout.object(manifest.digest)
        # Everybody who moves an object away holds this lock and looks again: the damaged one may be gone and
        # a new one in its place.
        with storing(path, manifest.size), FileLock(self.layout.locks / f"object-{manifest.digest}"):
            damage = check(path, manifest, full).damage
            if not damage:
                return "", None
            self.index.write(lambda connection: tables.drop_objects(connection, [manifest.digest]))
            return damage, set_aside(path, self.layout.quarantine, damage) if path.exists() else None

    def _first_result(self, key: str, digest: str) -> Manifest | None:
        """What the key has already, if that is another artifact and whole."""
        old = self.record(key)
        if old is None or old.digest == digest:
            return None
        first = self.claim(old.digest)
        if first is not None and check(self.layout.object(first.digest), first).damage:
            self._report_damage(first, f"{old.pass_name} {key[:12]}")
            first = None
        self.on_warning(
            f"{old.pass_name or 'the pass'} ({key[:12]}) is not deterministic: the same inputs and settings gave "
            f"{old.digest[:12]} before and {digest[:12]} now; "
            + ("the first result is kept" if first else "the new result replaces the first, which is gone")
        )
        others = [*old.extra.get("other_digests", []), digest if first else old.digest]
        noted = replace(old, extra={**old.extra, "other_digests": others})
        self.index.write(lambda connection: tables.put_record(connection, noted))
        return first

    def _settle(self, staging: Path, manifest: Manifest) -> Manifest:
        """Put the folder in place, or find the same artifact there."""
        if damage := still_as_sealed(staging, manifest):
            return self._settled_before(staging, manifest, damage)
        target = self.layout.object(manifest.digest)
        while True:
            if not target.exists():
                placed = place(staging, target, manifest)
                if placed is not None:
                    return placed
                continue
            found = self._object(manifest.digest)
            there = found[0] if found else replace(manifest, stamps=())
            verdict = check(target, there)
            if not verdict.damage:
                return replace(manifest, stamps=verdict.stamps)
            self._report_damage(there, f"digest {manifest.digest[:12]}")

    def _settled_before(self, staging: Path, manifest: Manifest, damage: str) -> Manifest:
        """The folder is not as sealed: fine if it went into the store already, for another key."""
        there = None if staging.exists() else self._object(manifest.digest)
        if there is None:
            raise StoreError(f"{staging} changed after its pass had ended: {damage}", "Run again.")
        return there[0]

    def _write_record(self, record: Record, manifest: Manifest) -> None:
        now = time.time()
        old = self.record(record.key)
        others = old.extra.get("other_digests") if old else None
        extra = {**record.extra, "other_digests": others} if others else record.extra
        record = replace(record, created=record.created or now, extra=extra)

        def write(connection: sqlite3.Connection) -> None:
            tables.put_object(connection, manifest, now)
            tables.put_record(connection, record)
            if record.workflow:
                tables.put_use(connection, record.workflow, record.node, record.key, record.run_id)

        self.index.write(write)
