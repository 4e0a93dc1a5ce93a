"""What the file system below a folder can do: tried, with files that are gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

_FICLONE = 0x40049409  # an ioctl of Linux: share the blocks, copy on write
_MOUNTS = Path("/proc/self/mounts")


def abilities(folder: Path) -> dict[str, Any]:
    """Space and abilities where a folder is, or would be made."""
    there = folder
    while not there.is_dir() and there.parent != there:
        there = there.parent
    usage = shutil.disk_usage(there)
    found: dict[str, Any] = {
        "path": str(folder),
        "exists": folder.is_dir(),
        "file_system": _kind(there),
        "free": usage.free,
        "total": usage.total,
        "writable": os.access(there, os.W_OK | os.X_OK),
    }
    if found["writable"]:
        with tempfile.TemporaryDirectory(prefix=".olive-like-doctor-", dir=there) as place:
            found |= _tried(Path(place))
    return found


def _tried(place: Path) -> dict[str, bool]:
    one, other = place / "one", place / "other"
    one.write_bytes(b"x" * 4096)
    return {
        "locks": _locks(one),
        "reflink": _reflink(one, other),
        "symlinks": _works(lambda: (place / "link").symlink_to(one)),
        "exec_bit": _works(lambda: one.chmod(0o755)) and bool(one.stat().st_mode & 0o100),
        "case_sensitive": not (place / "ONE").exists(),
        "sync": _works(lambda: _sync(one)),
    }


def _works(action: Any) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locks(path: Path) -> bool:
    """Whether a lock that one holds keeps another from it."""
    try:
        import fcntl
    except ImportError:
        return False
    with path.open("rb") as one, path.open("rb") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    return True


def _reflink(source: Path, target: Path) -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    with source.open("rb") as one, target.open("wb") as other:
        return _works(lambda: fcntl.ioctl(other.fileno(), _FICLONE, one.fileno()))


def _kind(folder: Path) -> str | None:
    """The type of the mounted file system that a folder is on."""
    real = os.path.realpath(folder)
    best, kind = -1, None
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        parts = line.split()
        if len(parts) < 3:
            continue
        point = parts[1].replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) > best:
            best, kind = len(point), parts[2]
    return kind
