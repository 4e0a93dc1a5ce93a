"""Locks between processes that the kernel drops when their holder dies, however it dies."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from olive_like.store import files

try:
    import fcntl
except ImportError:  # no flock on this system
    fcntl = None  # type: ignore[assignment]

_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_PATIENCE = 0.1  # longest pause between two attempts


class FileLock:
    """An exclusive (or shared) lock on a file that exists only while somebody holds or awaits it.

    Where the system or the file system has no flock, every attempt succeeds and `real` is False.
    """

    def __init__(self, path: Path, shared: bool = False, keep: bool = False) -> None:
        self.path = path
        self.real = True
        self._shared = shared
        self._keep = keep or shared  # whether the file stays when the lock is given back
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        return self._attempt(wait=False)

    def acquire(self, on_wait: Callable[[], None] | None = None) -> None:
        """Take the lock, polling, so that signals and threads are served while it waits."""
        pause, said = 0.002, False
        while not self.try_acquire():
            if not said and on_wait is not None:
                on_wait()
            said = True
            time.sleep(pause)
            pause = min(pause * 1.5, _PATIENCE)

    def acquire_in_turn(self) -> None:
        """Take the lock, queueing in the kernel: for locks held for moments only."""
        while not self._attempt(wait=True):
            pass

    def release(self) -> None:
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            if not self._keep:
                with suppress(OSError):  # an idle file is in nobody's way, and gc tries again
                    files.unlink(self.path)  # still locked: whoever waits sees that it holds a dead file, and retries
        finally:
            os.close(descriptor)

    def detach(self) -> None:
        """Let go of the lock and leave the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _attempt(self, wait: bool) -> bool:
        assert self._descriptor is None, "the lock is held already"
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            files.make_folder(self.path.parent)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if not self._flock(descriptor, wait) or not self._is_current(descriptor):
                os.close(descriptor)
                return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def _flock(self, descriptor: int, wait: bool) -> bool:
        if fcntl is None:
            self.real = False
            return True
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self.real = False
        return True

    def _is_current(self, descriptor: int) -> bool:
        """Whether the locked file is still the one that others find under the path."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def __enter__(self) -> FileLock:
        if self._descriptor is None:
            self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
