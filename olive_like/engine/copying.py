"""Copies of artifacts for the user: by reflink where the file system can, never by links."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_FICLONE = 0x40049409  # an ioctl of Linux: share the blocks, copy on write


def copy_tree(source: Path, target: Path, without: str = "") -> None:
    """Copy a folder's files into a new folder that the user may change; `without` is a name in it to leave out."""
    target.mkdir(exist_ok=True)
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        if entry.name == without:
            continue
        if entry.is_dir(follow_symlinks=False):
            copy_tree(Path(entry.path), target / entry.name)
        else:
            copy_file(Path(entry.path), target / entry.name)


def copy_file(source: Path, target: Path) -> None:
    """Copy one file with its executable bit."""
    executable = os.stat(source).st_mode & 0o100
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o777 if executable else 0o666)
    try:
        cloned = _clone(source, descriptor)
    finally:
        os.close(descriptor)
    if not cloned:
        shutil.copyfile(source, target)


def _clone(source: Path, target: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    with source.open("rb") as file:
        try:
            fcntl.ioctl(target, _FICLONE, file.fileno())
        except OSError:
            return False  # another file system, or one that shares no blocks
    return True
