"""Digests of what is not in the store: the user's models, data and scripts."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from olive_like.artifacts import FileEntry
from olive_like.errors import StoreError
from olive_like.store import files
from olive_like.store.hashing import hash_open_file
from olive_like.store.index import Index
from olive_like.store.model import Manifest, Stamp, matches

IGNORED = frozenset({".git", ".cache", "__pycache__", ".DS_Store", "provenance.json"})
"""What tools, this one included, leave beside a model: no part of it."""

# A file changed so recently may change again without its times moving: the clock of file times ticks in steps,
# of up to two seconds where they are whole ones.
_SETTLED, _SETTLED_COARSE = 0.1, 2.5


class Inputs:
    """Hashes files, each only once as long as it does not change."""

    def __init__(self, index: Index, memo_only: Index | None = None) -> None:
        self._index = index
        self._older = memo_only  # a read-only store's memo

    def file(self, path: Path) -> str:
        """Digest of one file's content, or of all that is in a folder."""
        return self.tree(path, "folder", {}, {}, None).digest if path.is_dir() else self._hash([path])[0][0]

    def tree(
        self, path: Path, kind: str, attributes: Mapping[str, Any], refs: Mapping[str, str], only: Sequence[str] | None
    ) -> Manifest:
        """Manifest of a folder or a file, links followed."""
        if not path.exists():
            raise StoreError(f"{path} does not exist")
        found = [(path.name, path)] if not path.is_dir() else sorted(_walk(path, "", ()))
        if only is not None:
            found = [(name, file) for name, file in found if matches(name, only)]
        hashed = self._hash([file for _, file in found])
        entries = [
            FileEntry(name, status.st_size, digest, bool(status.st_mode & stat.S_IXUSR))
            for (name, _), (digest, status) in zip(found, hashed, strict=True)
        ]
        stamps = [Stamp.of(status) for _, status in hashed]
        return Manifest.make(kind, attributes, refs, entries, stamps)

    def _hash(self, paths: Sequence[Path]) -> list[tuple[str, os.stat_result]]:
        results: list[tuple[str, os.stat_result]] = []
        fresh: list[tuple[Stamp, str]] = []
        known = self._recall()
        for path in paths:
            try:
                status = os.stat(path)
                if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
                    raise StoreError(f"{path} is no ordinary file and has no content to hash")
                digest = known(Stamp.of(status))
                if digest is None:
                    digest, status = _hash_steady(path)
                    if _is_settled(status):
                        fresh.append((Stamp.of(status), digest))
            except OSError as error:
                raise StoreError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from error
            results.append((digest, status))
        if fresh:
            self._index.write(lambda connection: _remember(connection, fresh))
        return results

    def _recall(self) -> Any:
        def look(stamp: Stamp) -> str | None:
            for index in (self._index, self._older):
                if index is not None and (digest := index.read(lambda c: _recall(c, stamp), None)) is not None:
                    return digest
            return None

        return look


def _is_settled(status: os.stat_result) -> bool:
    latest = max(status.st_mtime_ns, status.st_ctime_ns)
    pause = _SETTLED_COARSE if status.st_ctime_ns % 1_000_000_000 == 0 else _SETTLED
    return time.time() - latest / 1e9 > pause


def _walk(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterable[tuple[str, Path]]:
    try:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise StoreError(f"{folder} is a link to a folder that it stands in", "Remove the link.")
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in IGNORED:
                    continue
                if entry.is_dir():
                    yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, identity))
                elif entry.is_file():
                    yield f"{prefix}{entry.name}", Path(entry.path)
                elif entry.is_symlink():
                    raise StoreError(f"{entry.path} is a link to nothing", "Complete the download, or remove the link.")
                else:
                    raise StoreError(f"{entry.path} is no ordinary file and has no content to hash")
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {os.strerror(error.errno or 0)}") from error


def _hash_steady(path: Path) -> tuple[str, os.stat_result]:
    """Digest of a file that nobody changes meanwhile."""
    descriptor = files.open_for_reading(path)
    try:
        before = os.fstat(descriptor)
        digest, length = hash_open_file(descriptor)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if Stamp.of(before) != Stamp.of(after) or length != after.st_size or Stamp.of(os.stat(path)) != Stamp.of(after):
        raise StoreError(f"{path} was changed while it was hashed", "Run again when nothing else writes there.")
    return digest, after


def _recall(connection: sqlite3.Connection, stamp: Stamp) -> str | None:
    row = connection.execute(
        "SELECT digest FROM memo WHERE device=? AND inode=? AND size=? AND mtime_ns=? AND ctime_ns=?", stamp
    ).fetchone()
    return None if row is None else str(row[0])


def _remember(connection: sqlite3.Connection, fresh: Sequence[tuple[Stamp, str]]) -> None:
    now = time.time()
    connection.executemany(
        "INSERT OR REPLACE INTO memo VALUES (?,?,?,?,?,?,?)", [(*stamp, digest, now) for stamp, digest in fresh]
    )
