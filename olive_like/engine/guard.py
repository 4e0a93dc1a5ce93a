"""Nothing that a worker starts outlives the worker, and no worker outlives its engine.

A worker leads a process group of its own. When the engine dies, even by kill -9, the kernel ends the
worker, and a small guard process ends the rest of the group; it waits in the kernel, so a pass that holds
the interpreter's lock for minutes does not keep it from that. A worker that dies is followed in the same way.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal

_PR_SET_PDEATHSIG = 1


def follow_parent(engine: int) -> None:
    """Die with the parent process, which has to be the engine still."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return  # not Linux: the guard and the end of the socket remain
    if os.getppid() != engine:
        os._exit(1)


def lead_group() -> None:
    """Leave the group of a launcher that keeps all its ranks in one: a guard ends the whole of its worker's group."""
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)


def start_guard(engine: int) -> int | None:
    """Fork the guard of this process's group; None where the kernel has no pidfd or the engine (0) is elsewhere."""
    if not hasattr(os, "pidfd_open") or os.getpgid(0) != os.getpid():
        return None
    try:
        watched = (os.pidfd_open(engine or os.getpid()), os.pidfd_open(os.getpid()))
    except OSError:
        return None
    guard = os.fork()
    if guard:
        for descriptor in watched:
            os.close(descriptor)
        return guard
    _watch(watched)
    return None  # never reached


def _watch(watched: tuple[int, int]) -> None:
    """The guard: hold nothing but the two process descriptors, wait, end the group."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        first, last = min(watched), max(watched)
        os.closerange(3, first)
        os.closerange(first + 1, last)
        os.closerange(last + 1, 4096)
        poll = select.poll()
        for descriptor in watched:
            poll.register(descriptor, select.POLLIN)
        # The group gets SIGTERM when it is ended kindly: the guard stays until the worker is gone.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        poll.poll()
        os.killpg(0, signal.SIGKILL)
    finally:
        os._exit(1)
