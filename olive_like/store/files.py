"""Every change that the store makes to the file system, one small function each.

All of them pass through `hook`, so that tests can count them and let the n-th one fail, or be the last
that the process does.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

hook: Callable[..., None] | None = None
"""Called with the operation's name and its paths before it happens."""

READ_ONLY = 0o444


def _before(operation: str, *paths: str | os.PathLike[str]) -> None:
    if hook is not None:
        hook(operation, *[os.fspath(path) for path in paths])


def note(operation: str, path: str | os.PathLike[str]) -> None:
    """Tell the hook of an operation that another library does."""
    _before(operation, path)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, unless it is there."""
    _before("mkdir", path)
    path.mkdir(parents=True, exist_ok=True)


def make_new_folder(path: Path) -> None:
    """Create a folder that must not exist yet; its parent must."""
    _before("mkdir", path)
    path.mkdir()


def open_for_reading(path: str | os.PathLike[str]) -> int:
    _before("open", path)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def write(path: Path, content: bytes) -> None:
    """Create or overwrite a small file."""
    _before("open", path)
    with open(path, "wb") as file:
        _before("write", path)
        file.write(content)


def sync_file(descriptor: int, path: str | os.PathLike[str]) -> None:
    _before("fsync", path)
    os.fsync(descriptor)


def sync_folder(path: Path) -> None:
    """Make the folder's entries durable."""
    _before("fsync_folder", path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems have no fsync for folders, and need none
            raise
    finally:
        os.close(descriptor)


def set_mode(path: str | os.PathLike[str], mode: int) -> None:
    _before("chmod", path)
    os.chmod(path, mode)


def rename(source: Path, target: Path) -> None:
    _before("rename", source, target)
    os.rename(source, target)


def replace(source: Path, target: Path) -> None:
    _before("rename", source, target)
    os.replace(source, target)


def unlink(path: Path) -> None:
    """Remove a file, unless it is gone already."""
    _before("unlink", path)
    path.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    _before("copy", source, target)
    shutil.copyfile(source, target)
    os.chmod(target, stat.S_IMODE(os.stat(source).st_mode) | stat.S_IWUSR)


def link(source: Path, target: Path) -> None:
    """The same file under another path; a copy where the file system knows no links."""
    _before("link", source, target)
    try:
        os.link(source, target)
    except OSError:
        copy(source, target)


def remove_tree(path: Path) -> None:
    """Remove a folder or a file; what cannot be removed stays, for `gc` to try again."""
    with suppress(OSError):
        _before("rmtree", path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a small file so that it is there as a whole or not at all, also after a power failure."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    write(draft, content)
    descriptor = open_for_reading(draft)
    try:
        sync_file(descriptor, draft)
    finally:
        os.close(descriptor)
    replace(draft, path)
    sync_folder(path.parent)
