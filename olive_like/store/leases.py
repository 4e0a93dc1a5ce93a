"""What a live process uses and gc must leave alone: one locked file per process, one digest per line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from olive_like.store.locks import FileLock

_FORGOTTEN = 7 * 86400.0  # seconds after which a lease counts as dead where locks cannot tell


class Lease:
    """This process's claim. It ends when the process closes it or dies."""

    def __init__(self, folder: Path) -> None:
        self.name = os.urandom(8).hex()
        self._path = folder / self.name
        self._lock = FileLock(self._path)
        self._digests: set[str] = set()
        self._lock.acquire()

    def has(self, digests: Iterable[str]) -> bool:
        return self._digests.issuperset(digests)

    def add(self, digests: Iterable[str]) -> None:
        """Claim artifacts, from this moment on."""
        new = [digest for digest in digests if digest not in self._digests]
        if not new:
            return
        with open(self._path, "a", encoding="ascii") as file:
            file.write("".join(f"{digest}\n" for digest in new))
        self._digests.update(new)

    def close(self) -> None:
        self._lock.release()


def live(folder: Path) -> dict[str, set[str]]:
    """Name and claimed digests of every lease whose process lives; leases of the dead are removed."""
    leases: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*")):
        lock = FileLock(path)
        if lock.try_acquire() and lock.real:
            lock.release()  # which removes the file
            continue
        if not lock.real and time.time() - path.stat().st_mtime > _FORGOTTEN:
            lock.release()
            continue
        lock.detach()  # held by its owner; or there is no flock, and nobody can tell the living from the dead
        try:
            leases[path.name] = set(path.read_text(encoding="ascii").split())
        except FileNotFoundError:
            continue
    return leases


def is_dead(folder: Path, name: str) -> bool:
    """Whether the process with this lease is gone for certain."""
    path = folder / name
    if not path.exists():
        return True
    lock = FileLock(path)
    if not lock.try_acquire():
        return False
    if not lock.real:
        lock.detach()
        return False
    lock.release()
    return True
