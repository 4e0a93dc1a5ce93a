"""Close an artifact: hash its files, make them durable and read-only. Called where the pass ran."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.artifacts import FileEntry
from olive_like.errors import PassError, StoreError
from olive_like.store import files
from olive_like.store.hashing import hash_open_file
from olive_like.store.model import Manifest, Stamp
from olive_like.store.trouble import storing

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_ALONE, _FEW = 1 << 20, 16  # up to so many bytes and files are hashed and synced in turn: cheaper than threads


def seal(path: Path, kind: str, attributes: Mapping[str, Any], refs: Mapping[str, str]) -> Manifest:
    """The manifest of a folder that a pass has written, which from now on is read-only and durable."""
    with storing(path):
        folders, names = _walk(path)
        size = sum(os.lstat(path / name).st_size for name in names)
    with storing(path, size), ExitStack() as stack:
        # Disk and processor at the same time: files are hashed while earlier ones are written out.
        pool: ThreadPoolExecutor | None = None
        if size > _ALONE or len(names) > _FEW:
            from concurrent.futures import ThreadPoolExecutor  # costs 4 ms: only where there is much to write

            pool = stack.enter_context(ThreadPoolExecutor(4, thread_name_prefix="olive-like-sync"))
        syncing: list[Future[None]] = []
        sealed = [_seal_file(path, name, pool, syncing) for name in names]
        for future in syncing:
            future.result()
        for folder in reversed(folders):
            files.sync_folder(folder)
    return Manifest.make(kind, attributes, refs, [entry for entry, _ in sealed], [stamp for _, stamp in sealed])


def _seal_file(
    root: Path, name: str, pool: ThreadPoolExecutor | None, syncing: list[Future[None]]
) -> tuple[FileEntry, Stamp]:
    path = root / name
    executable = bool(os.lstat(path).st_mode & stat.S_IXUSR)
    files.set_mode(path, files.READ_ONLY | (0o111 if executable else 0))
    descriptor = files.open_for_reading(path)
    try:
        before = Stamp.of(os.fstat(descriptor))
        if pool is None:
            files.sync_file(descriptor, path)
        else:
            syncing.append(pool.submit(_sync, path))
        digest, length = hash_open_file(descriptor)
        after = Stamp.of(os.fstat(descriptor))
    finally:
        os.close(descriptor)
    if before != after or length != after.size:
        raise StoreError(f"{path} was still being written when its pass had ended", "The result is not kept.")
    return FileEntry(name, length, digest, executable), after


def _sync(path: Path) -> None:
    descriptor = files.open_for_reading(path)
    try:
        files.sync_file(descriptor, path)
    finally:
        os.close(descriptor)


def _walk(root: Path) -> tuple[list[Path], list[str]]:
    """All folders, parents first, and the sorted names of all files; refuses what is neither."""
    folders, names = [root], []
    for folder in folders:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            else:
                _refuse_links(entry)
                names.append(Path(entry.path).relative_to(root).as_posix())
    return folders, sorted(names)


def _refuse_links(entry: os.DirEntry[str]) -> None:
    hint = "An artifact consists of ordinary files: copy what the link or name stands for."
    if entry.is_symlink():
        raise PassError(f"the pass left a symbolic link in its output: {entry.path} -> {os.readlink(entry.path)}", hint)
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise PassError(f"the pass left something that is no file in its output: {entry.path}", hint)
    if status.st_nlink > 1:
        raise PassError(f"the pass left a hard link in its output: {entry.path} is a file elsewhere too", hint)


def paths_below(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Relative path and status of everything below that is no folder, links not followed."""
    stack = [(root, "")]
    while stack:
        folder, prefix = stack.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append((Path(entry.path), f"{prefix}{entry.name}/"))
                else:
                    yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)
