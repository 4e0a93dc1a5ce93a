"""The store: key -> artifact, every artifact whole or absent, every reading verified."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from olive_like.artifacts import Artifact
from olive_like.errors import StoreError
from olive_like.store import files, history, leases, tables
from olive_like.store.check import check
from olive_like.store.collect import Collection, collect
from olive_like.store.index import Index
from olive_like.store.inputs import Inputs
from olive_like.store.layout import Layout, private_overlay
from olive_like.store.listing import Listed, Verification, find, listing, verify
from olive_like.store.locks import FileLock
from olive_like.store.model import Manifest, Record, Stamp
from olive_like.store.resolve import Known, build, in_hand, remember_external
from olive_like.store.scratch import prepare
from olive_like.store.trouble import storing
from olive_like.store.writing import publish, report_damage

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
        self._mutex = threading.Lock()

    # ------------------------------------------------------------------ keys to artifacts

    def peek(self, key: str) -> Record | None:
        """What the index says about a key, if its artifact should be there. No file is looked at."""
        if self.over and (record := self.over.peek(key)):
            return record
        found = self._look_up(key)
        return None if found is None else tables.with_manifest(*found)

    def fetch(self, key: str, known: Iterable[Artifact] = ()) -> Artifact | None:
        """The verified artifact of a key; None where there is none that is whole.

        `known` are artifacts in hand that this one may stand on, the run's input models above all.
        """
        if self.over and (artifact := self.over.fetch(key, known)):
            return artifact
        found = self._look_up(key)
        if found is None:
            return None
        return self._use(found[1], f"{found[0].pass_name or 'key'} {key[:12]}", in_hand(known))

    def staging(self, key: str) -> Path:
        """A new, empty folder for the result of a key. Commit or discard it."""
        if self.over:
            return self.over.staging(key)
        path = self.layout.staging / f"{self.keep([])}.{next(_counter)}.{key[:12]}"
        with storing(path):
            files.make_new_folder(path)
        return path

    def discard(self, staging: Path) -> None:
        """Remove a staging folder that will not be committed."""
        files.remove_tree(staging)

    def scratch(self, key: str, family: str = "") -> Path:
        """The folder where an interrupted pass of this key, or of its family, finds its checkpoints again."""
        if self.over:
            return self.over.scratch(key, family)
        with storing(self.layout.scratch / key):
            return prepare(self, key, family)

    def commit(
        self,
        key: str,
        staging: Path,
        manifest: Manifest,
        record: Record,
        known: Iterable[Artifact] = (),
        replace: bool = False,
    ) -> Artifact:
        """Make a sealed staging folder the artifact of a key.

        The staging folder is gone afterwards, also where this fails. A key that has another artifact
        already keeps it, unless that one is to be replaced: the pass is not deterministic, which is said and recorded.
        """
        if self.over:
            return self.over.commit(key, staging, manifest, record, known, replace)
        kept = self.publish(key, staging, manifest, record, replace)
        return build(self, kept, in_hand(known))

    def publish(self, key: str, staging: Path, manifest: Manifest, record: Record, replace: bool = False) -> Manifest:
        """`commit` for who does not need the artifact: says what the key has now."""
        if self.over:
            return self.over.publish(key, staging, manifest, record, replace)
        return publish(self, key, staging, manifest, record, replace)

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
        if self.over:
            return self.over.key_lock(key)
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
            remember_external(self.over or self, Path(path), manifest)
        return manifest

    # ------------------------------------------------------------------ what was

    def used(self, key: str, workflow: str, node: str, run_id: str = "") -> None:
        """Note that a node of a workflow has this key now, for `last_record`, and keep its artifact from gc."""
        if self.over:
            return self.over.used(key, workflow, node, run_id)
        digest = self.index.read(lambda connection: tables.digest_of(connection, key), None)
        if digest is not None:
            self.keep([digest])
        if history.last_key(self.index, workflow, node) != key:
            self.index.write(lambda connection: tables.put_use(connection, workflow, node, key, run_id))
        return None

    def last_record(self, workflow: str, node: str) -> Record | None:
        """The record that a node of a workflow had when it last ran or hit."""
        return next(iter(self.history(workflow, node, 1)), None)

    def history(self, workflow: str, node: str, limit: int = 20) -> list[Record]:
        """Records of a node, the latest first, also of those whose artifacts are gone."""
        records = self.over.history(workflow, node, limit) if self.over else []
        return (records + history.records(self.index, workflow, node, limit))[:limit]

    def record(self, key: str) -> Record | None:
        """The record of a key, whether or not its artifact is still there."""
        try:
            record = self.index.read(lambda connection: tables.get_record(connection, key), None)
        except tables.BadRow:
            record = None
        return record or (self.over.record(key) if self.over else None)

    # ------------------------------------------------------------------ keeping house

    def pin(self, digest: str, output: Path) -> None:
        """Keep an artifact from gc as long as the output's `provenance.json` names it."""
        index, path = (self.over or self).index, tables.path_value(Path(output).absolute())
        if index.read(lambda connection: tables.pinned_to(connection, path), None) != digest:
            row = (path, digest, time.time())
            index.write(lambda connection: connection.execute("INSERT OR REPLACE INTO pins VALUES (?,?,?)", row))

    def unpin(self, output: Path) -> None:
        row = (tables.path_value(Path(output).absolute()),)
        self.index.write(lambda connection: connection.execute("DELETE FROM pins WHERE path = ?", row))

    def gc(self, max_size: int | None = None, older_than: float | None = None, dry_run: bool = False) -> Collection:
        """Remove artifacts unused for `older_than` seconds, then the longest unused until `max_size` bytes are left.

        Nothing goes that a live process uses or a pinned output refers to. Leftovers of dead processes go too.
        """
        if self.over:
            return self.over.gc(max_size, older_than, dry_run)
        return collect(self, max_size, older_than, dry_run)

    def verify(self, on_progress: Callable[[Listed], None] = lambda _: None) -> Verification:
        """Hash everything anew; damaged artifacts go to quarantine."""
        return verify(self, on_progress)

    def ls(self) -> list[Listed]:
        """Every artifact, the latest used first."""
        return listing(self) + (listing(self.over) if self.over else [])

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
        from olive_like.store import archive  # tarfile is of no use to runs

        return archive.export(self, names, Path(file))

    def import_(self, file: Path) -> list[Record]:
        """Take in what `export` wrote, verified."""
        from olive_like.store import archive  # as above

        return archive.import_(self, Path(file))

    def use(self, digest: str, name: str, known: Known) -> Artifact | None:
        """Claim, verify and hand out an object; `name` is what warnings call it."""
        found = self.object(digest)
        return self._use(found[0], name, known) if found else None

    def claim(self, digest: str) -> Manifest | None:
        """Keep an object from gc, and say what it consists of, if it is there."""
        if not self.over:
            self.keep([digest])
        found = self.object(digest)
        return found[0] if found else None

    def close(self) -> None:
        """Let go of the artifacts in use, and of the index."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None
        if "over" in self.__dict__ and self.over:
            self.over.close()
        if "index" in self.__dict__:
            self.index.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ inside

    def _say(self, text: str) -> None:
        self.on_warning(text)  # whatever it is now: a run puts its own in its place

    @cached_property
    def index(self) -> Index:
        return Index(self.layout.index_file(), self._say, self.layout.is_writable)

    @cached_property
    def over(self) -> Store | None:
        """Where this store is read-only: the private one that takes what is new."""
        if self.layout.is_writable():
            return None
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(
                f"the cache cannot be in {self.root}, which is no folder", "Set cache_dir or OLIVE_LIKE_CACHE."
            )
        return Store(private_overlay(self.root, self._say), self._say, below=self)

    @cached_property
    def _begun(self) -> None:
        """The folders exist, and what killed processes left in staging is gone."""
        self.layout.begin()
        for path in self.layout.staging.iterdir():
            if leases.is_dead(self.layout.leases, path.name.partition(".")[0]):
                files.remove_tree(path)

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs(self.over.index, self.index) if self.over else Inputs(self.index)

    def keep(self, digests: Sequence[str]) -> str:
        """Keep artifacts from gc as long as this process needs the store; says the lease's name."""
        self._begun  # noqa: B018
        with self._mutex, storing(self.layout.leases):
            if self._lease is not None and self._lease.has(digests):
                return self._lease.name
            with FileLock(self.layout.locks / "gc", shared=True):
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

    def object(self, digest: str) -> tuple[Manifest, float] | None:
        """What the index says of an object, and when it was last used."""
        try:
            return self.index.read(lambda connection: tables.get_object(connection, digest), None)
        except tables.BadRow:
            return None

    def _use(self, manifest: Manifest, name: str, known: Known) -> Artifact | None:
        """Claim, verify and hand out an object."""
        if not self.over:
            self.keep([manifest.digest, *manifest.refs.values()])
            if not self.index.read(lambda connection: tables.has_object(connection, manifest.digest), False):
                return None  # gc was faster
        path = self.layout.object(manifest.digest)
        verdict = check(path, manifest)
        if verdict.damage:
            report_damage(self, manifest, name)
            return None
        if not self.over:
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
            found = self.object(manifest.digest)
            if found is not None and tables.needs_touch(found[1], now):
                self.index.write(lambda connection: tables.touch(connection, manifest.digest, now))
        except StoreError as error:  # the artifact is whole, only the note of it cannot be kept
            self.on_warning(error.message)
