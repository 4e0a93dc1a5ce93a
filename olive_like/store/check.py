"""Compare an artifact on disk with its manifest."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from olive_like.store import files
from olive_like.store.hashing import hash_open_file
from olive_like.store.model import Manifest, Stamp
from olive_like.store.seal import paths_below


class Verdict(NamedTuple):
    damage: str  # empty: the artifact is whole
    stamps: tuple[Stamp, ...] = ()  # of its files as they were found whole
    hashed: bool = False  # whether any file had to be read


def check(path: Path, manifest: Manifest, full: bool = False) -> Verdict:
    """Whether the folder holds exactly the manifest's files.

    A file whose stamp is known is not read again, unless `full`.
    """
    try:
        found = dict(paths_below(path))
    except FileNotFoundError:
        return Verdict("it is gone")
    except OSError as error:
        return Verdict(f"it cannot be read: {os.strerror(error.errno or 0)}")
    wanted = {entry.path for entry in manifest.files}
    if missing := sorted(wanted - found.keys()):
        return Verdict(f"{missing[0]} is missing")
    if extra := sorted(found.keys() - wanted):
        return Verdict(f"{extra[0]} does not belong to it")
    known = manifest.stamps if len(manifest.stamps) == len(manifest.files) else (None,) * len(manifest.files)
    stamps, hashed = [], False
    for entry, old in zip(manifest.files, known, strict=True):
        status = found[entry.path]
        if not stat.S_ISREG(status.st_mode):
            return Verdict(f"{entry.path} is no ordinary file")
        if bool(status.st_mode & stat.S_IXUSR) != entry.executable:
            return Verdict(f"{entry.path} has another executable bit")
        if status.st_size != entry.size:
            return Verdict(f"{entry.path} has {status.st_size:,} bytes instead of {entry.size:,}")
        stamp = Stamp.of(status)
        if full or stamp != old:
            hashed = True
            damage, stamp = _read(path / entry.path, entry.path, entry.digest, stamp)
            if damage:
                return Verdict(damage)
        stamps.append(stamp)
    return Verdict("", tuple(stamps), hashed)


def _read(path: Path, name: str, digest: str, expected: Stamp) -> tuple[str, Stamp]:
    try:
        descriptor = files.open_for_reading(path)
        try:
            found, _ = hash_open_file(descriptor)
            stamp = Stamp.of(os.fstat(descriptor))
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"{name} cannot be read: {os.strerror(error.errno or 0)}", expected
    if found != digest:
        return f"the content of {name} has changed", stamp
    if stamp != expected:
        return f"{name} was changed while it was read", stamp
    return "", stamp
