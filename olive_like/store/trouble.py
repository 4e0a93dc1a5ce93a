"""What the operating system and SQLite refuse, in words that a user can act on."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from olive_like.errors import StoreError

_ROOM = "Make room (`olive-like cache gc --max-size 50GB`), or put the cache elsewhere: OLIVE_LIKE_CACHE or cache_dir."
_RIGHTS = "Give yourself the right to write there, or put the cache elsewhere: OLIVE_LIKE_CACHE or cache_dir."
_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.EIO: "The disk or its connection reports an error; look into the system's log.",
    errno.EMFILE: "Too many files are open; raise the limit (`ulimit -n`).",
}


@contextmanager
def storing(path: str | os.PathLike[str], size: int | None = None) -> Iterator[None]:
    """Turn the system's errors into a StoreError that names the path and the bytes at stake."""
    try:
        yield
    except OSError as error:
        raise os_trouble(error, path, size) from error
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot keep {_amount(size)}{os.fspath(path)}: SQLite says {error}", _sqlite_hint(error)
        ) from error


def os_trouble(error: OSError, path: str | os.PathLike[str], size: int | None = None) -> StoreError:
    where = os.fspath(error.filename) if isinstance(error.filename, (str, os.PathLike)) else os.fspath(path)
    cause = os.strerror(error.errno) if error.errno else str(error)
    whole = "" if where == os.fspath(path) else f" (for {os.fspath(path)})"
    return StoreError(f"cannot keep {_amount(size)}{where}: {cause}{whole}", _HINTS.get(error.errno or 0, ""))


def _amount(size: int | None) -> str:
    return "" if size is None else f"{size:,} bytes at "


def _sqlite_hint(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return _ROOM
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "Another process keeps the index busy; run again when it is done."
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return _RIGHTS
    return ""
