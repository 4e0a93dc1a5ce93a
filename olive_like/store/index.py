"""The SQLite file: opened late, shared by processes, replaced when it is damaged."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from olive_like.store import files
from olive_like.store.locks import FileLock
from olive_like.store.trouble import storing

T = TypeVar("T")
SCHEMA = 1
_TIMEOUT = 60.0  # seconds to wait for another process's transaction

_TABLES = """
CREATE TABLE IF NOT EXISTS objects(
  digest TEXT PRIMARY KEY, kind TEXT NOT NULL, attributes TEXT NOT NULL, refs TEXT NOT NULL,
  files TEXT NOT NULL, stamps TEXT NOT NULL, size INTEGER NOT NULL, created REAL NOT NULL, last_used REAL NOT NULL);
CREATE TABLE IF NOT EXISTS records(
  key TEXT PRIMARY KEY, digest TEXT NOT NULL, document TEXT NOT NULL, pass_name TEXT NOT NULL, node TEXT NOT NULL,
  workflow TEXT NOT NULL, run_id TEXT NOT NULL, created REAL NOT NULL, seconds REAL NOT NULL,
  peak_rss INTEGER NOT NULL, metrics TEXT NOT NULL, extra TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS records_digest ON records(digest);
CREATE TABLE IF NOT EXISTS uses(
  workflow TEXT NOT NULL, node TEXT NOT NULL, key TEXT NOT NULL, run_id TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY(workflow, node, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memo(
  device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL, digest TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY(device, inode)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS externals(
  digest TEXT NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL, attributes TEXT NOT NULL, refs TEXT NOT NULL,
  at REAL NOT NULL, PRIMARY KEY(digest, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins(path TEXT PRIMARY KEY, digest TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
"""


class _Garbage(sqlite3.DatabaseError):
    """The file is no index of ours."""


class _Unmendable(Exception):
    """The file is damaged, and this user may not replace it."""


class Index:
    """One connection, used by one thread at a time."""

    def __init__(self, path: Path, on_warning: Callable[[str], None], writable: Callable[[], bool]) -> None:
        self.path = path
        self._warn = on_warning
        self._writable = writable
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._said = False

    def read(self, work: Callable[[sqlite3.Connection], T], default: T) -> T:
        """What `work` finds; `default` where there is no index yet."""
        with self._mutex:
            if self._connection is None and not self.path.exists():
                return default
            try:
                return self._attempt(work)
            except _Unmendable as error:
                if not self._said:
                    self._warn(f"the index {self.path} cannot be read ({error}); what it knows counts as absent")
                self._said = True
                return default

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction."""

        def transaction(connection: sqlite3.Connection) -> T:
            files.note("begin", self.path)
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                files.note("commit", self.path)
                connection.execute("COMMIT")
                return result
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

        with self._mutex:
            return self._attempt(transaction)

    def close(self) -> None:
        with self._mutex:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with storing(self.path):
            try:
                return work(self._open())
            except sqlite3.DatabaseError as error:
                if not _is_garbage(error):
                    raise
                self._replace(error)
            return work(self._open())

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = self._connect()
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._writable():
            files.make_folder(self.path.parent)
            return sqlite3.connect(self.path, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False)
        # Where a writer is at work, its shared memory file is there and can be read along. Where there is none,
        # SQLite opens the file only when told that nobody writes.
        return self._connect_read_only("mode=ro") or self._connect_read_only("immutable=1") or self._refuse()

    def _connect_read_only(self, how: str) -> sqlite3.Connection | None:
        uri = f"{self.path.absolute().as_uri()}?{how}"
        connection = sqlite3.connect(uri, uri=True, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError:
            connection.close()
            return None
        return connection

    def _refuse(self) -> sqlite3.Connection:
        raise _Garbage("it cannot be opened")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA):
            raise _Garbage(f"schema {version} where {SCHEMA} was expected")
        if version == 0:
            if not self._writable():
                raise _Garbage("it has no tables")
            with FileLock(self.path.parent / "locks" / "index"):  # turning WAL on does not wait for others by itself
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version={SCHEMA};COMMIT;")
        connection.execute("PRAGMA synchronous=NORMAL")

    def _replace(self, error: sqlite3.DatabaseError) -> None:
        """Move a damaged file aside, unless another process has done so."""
        self.close()
        if not self._writable():
            raise _Unmendable(str(error)) from error
        with FileLock(self.path.parent / "locks" / "index"):
            if self._is_sound():
                return
            quarantine = self.path.parent / "quarantine"
            files.make_folder(quarantine)
            aside = quarantine / f"{self.path.name}-{time.time_ns()}"
            for suffix in ("-wal", "-shm", ""):
                source = Path(f"{self.path}{suffix}")
                if source.exists():
                    files.rename(source, Path(f"{aside}{suffix}"))
        self._warn(f"the cache's index was damaged ({error}) and is now {aside}; what it knew will be found out again")

    def _is_sound(self) -> bool:
        if not self.path.exists():
            return True
        try:
            connection = self._connect()
            try:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
                healthy = connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
                return bool(healthy and version == SCHEMA and tables == _TABLES.count("CREATE TABLE"))
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            if _is_garbage(error):
                return False
            raise


def _is_garbage(error: sqlite3.DatabaseError) -> bool:
    if isinstance(error, _Garbage):
        return True
    code = getattr(error, "sqlite_errorcode", 0) or 0
    if code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    return str(error).startswith(("no such table", "no such column"))
