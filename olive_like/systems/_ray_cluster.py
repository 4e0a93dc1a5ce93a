"""A Ray cluster of one run's own, on this machine: started by who needs it first, gone with the last.

A process of its own holds it, so that it does not end with the one that happened to be first. Everybody who uses
it holds a shared lock; when nobody does, or the engine is gone, the holder ends the cluster.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_OBJECTS = 100 << 20  # bytes of memory for Ray's objects: artifacts do not go that way
_START_SECONDS = 120.0
_PAUSE = 0.25


@contextmanager
def joined(engine: int) -> Iterator[str]:
    """The address of the engine's cluster, which stays as long as this context does."""
    folder = Path(tempfile.gettempdir()) / f"olive-like-ray-{os.getuid()}-{engine}"
    folder.mkdir(mode=0o700, exist_ok=True)
    _prove(folder)
    with _begun(folder, engine) as users:
        try:
            yield _address(folder)
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)


def _prove(folder: Path) -> None:
    """Only who can read the folder may use the cluster."""
    token = folder / "token"
    try:
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        while not token.stat().st_size:
            time.sleep(0.01)
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


@contextmanager
def _begun(folder: Path, engine: int) -> Iterator[IO[str]]:
    """The users' lock, held; the cluster's holder is started if there is none."""
    with (folder / "users").open("a") as users, (folder / "start").open("a") as start:
        fcntl.flock(start, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not _held(folder):
            (folder / "address").unlink(missing_ok=True)
            # Twice removed: what ends this process and its children is not to end the cluster.
            command = [sys.executable, "-P", "-m", __name__, str(folder), str(engine)]
            starter = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
            subprocess.run([sys.executable, "-c", starter, *command], check=True)
            _wait_for_address(folder)
        fcntl.flock(start, fcntl.LOCK_UN)
        yield users


def _held(folder: Path) -> bool:
    """Whether the cluster's holder is alive."""
    with (folder / "holder").open("a") as holder:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return (folder / "address").exists()
    return False


def _wait_for_address(folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not (folder / "address").exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Ray did not start within {_START_SECONDS:.0f} s")
        time.sleep(0.05)


def _address(folder: Path) -> str:
    return (folder / "address").read_text()


def hold(folder: Path, engine: int) -> None:
    """Start the cluster, and end it when nobody uses it any more."""
    with (folder / "holder").open("a") as holder, (folder / "users").open("a") as users:
        fcntl.flock(holder, fcntl.LOCK_EX)
        import ray  # here, as it is not needed where a cluster is only joined

        started = ray.init(
            include_dashboard=False, configure_logging=False, log_to_driver=False, object_store_memory=_OBJECTS
        )
        draft = folder / "address.new"
        draft.write_text(started.address_info["address"])
        draft.rename(folder / "address")
        try:
            while _alive(engine) and not _unused(users):
                time.sleep(_PAUSE)
            (folder / "address").unlink(missing_ok=True)
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def _unused(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    hold(Path(sys.argv[1]), int(sys.argv[2]))
