"""Put a sealed folder in its place among the objects, whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from olive_like.errors import StoreError
from olive_like.store import files
from olive_like.store.check import check
from olive_like.store.model import Manifest
from olive_like.store.seal import seal
from olive_like.store.trouble import storing

_OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


def place(staging: Path, target: Path, manifest: Manifest) -> Manifest | None:
    """Move the folder to its place; None where another process was faster.

    What comes back has the stamps of the files as they now are.
    """
    with storing(target, manifest.size):
        if not target.parent.exists():
            files.make_folder(target.parent)
            files.sync_folder(target.parent.parent)
        try:
            files.rename(staging, target)
        except OSError as error:
            if error.errno in _OCCUPIED:
                return None
            if error.errno != errno.EXDEV:
                raise
            moved = _carry(staging, target, manifest)
            if moved is None:
                return None
            manifest = moved
        files.sync_folder(target.parent)
    return manifest


def _carry(staging: Path, target: Path, manifest: Manifest) -> Manifest | None:
    """Bring the folder over from another file system and look at it again there."""
    draft = target.parent / f".{target.name[:12]}-{os.urandom(4).hex()}"
    try:
        for entry in manifest.files:
            file = draft / entry.path
            files.make_folder(file.parent)
            files.copy(staging / entry.path, file)
        copied = seal(draft, manifest.kind, manifest.attributes, manifest.refs)
        if copied.digest != manifest.digest:
            raise StoreError(f"{staging} was changed while it was copied to {target}", "Run again.")
        try:
            files.rename(draft, target)
        except OSError as error:
            if error.errno in _OCCUPIED:
                return None
            raise
        return copied
    finally:
        if draft.exists():
            files.remove_tree(draft)
        files.remove_tree(staging)


def still_as_sealed(staging: Path, manifest: Manifest) -> str:
    """What has happened to the folder since it was sealed; empty: nothing."""
    if not manifest.stamps and manifest.files:
        return check(staging, manifest).damage
    verdict = check(staging, manifest)
    return verdict.damage or ("a file was replaced" if verdict.hashed else "")


def set_aside(path: Path, quarantine: Path, reason: str) -> Path:
    """Move something damaged out of the way, with a note that says why."""
    files.make_folder(quarantine)
    aside = quarantine / f"{path.name}-{os.urandom(4).hex()}"
    files.write(aside.with_name(f"{aside.name}.reason.txt"), f"{path}: {reason}\n".encode())
    if path.is_dir() and not path.is_symlink():
        os.chmod(path, 0o755)  # a folder can be moved only by who may write in it
    files.rename(path, aside)
    return aside
