"""Put a prepared folder in the place of an older one, all at once, and keep what others put there."""

from __future__ import annotations

import ctypes
import errno
import glob
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from olive_like.engine.events import write_json
from olive_like.errors import StoreError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


PROVENANCE = "provenance.json"  # says, among other things, which files of a folder are ours


def listed(folder: Path) -> dict[str, Any]:
    """The files of an output folder that are ours, by relative path; empty for a folder that never was one."""
    # What a crash left of writing the list is ours too.
    ours: dict[str, Any] = {path.name: {} for path in folder.glob(f".{PROVENANCE}.*")}
    try:
        files = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return ours
    if not isinstance(files, dict):
        return ours
    # Whoever wrote the list, what is not in the folder is not ours to remove.
    inside = {name: entry for name, entry in files.items() if not name.startswith("/") and ".." not in name.split("/")}
    return {**ours, **inside, PROVENANCE: {}}


def workplace(target: Path) -> Path:
    """The folder for drafts of a target, and for its lock: on the target's file system, out of sight."""
    return target if os.path.ismount(target) else target.parent


def draft_of(target: Path) -> Path:
    """Where to prepare the new content."""
    return workplace(target) / f".{target.name}.olive-draft-{secrets.token_hex(4)}"


def recover(target: Path) -> None:
    """Clear away what an interrupted run left of its drafts; called under the target's lock.

    It is a draft or the folder that it replaced: what is ours there goes, everything else belongs to the target.
    """
    for leftover in workplace(target).glob(f".{glob.escape(target.name)}.olive-draft-*"):
        for path in listed(leftover):
            (leftover / path).unlink(missing_ok=True)
        _move_missing(leftover, target)
        shutil.rmtree(leftover)


def place(draft: Path, target: Path) -> None:
    """Make the draft the target. Files of the target that are not ours stay."""
    if not target.exists():
        os.rename(draft, target)
        return
    ours = listed(target)
    foreign = [path for path in files_below(target) if path not in ours]
    _refuse_collisions(draft, target, foreign)
    if _is_in_use_as_a_place(target):
        _place_inside(draft, target, ours)
        return
    for path in foreign:
        _share(target / path, draft / path)
    if not _exchange(draft, target):
        old = draft_of(target)
        os.rename(target, old)
        os.rename(draft, target)
    recover(target)  # the old folder is now beside the new one, with what somebody put there meanwhile


def files_below(folder: Path, prefix: str = "") -> Iterator[str]:
    """Relative paths of all files, links among them, with forward slashes."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}"


def _refuse_collisions(draft: Path, target: Path, foreign: list[str]) -> None:
    taken = [path for path in foreign if os.path.lexists(draft / path)]
    if taken:
        raise StoreError(
            f"{target / taken[0]} was not put there by olive-like and would be replaced by an output's file",
            "Move it away, or choose another output_dir.",
        )


def _is_in_use_as_a_place(target: Path) -> bool:
    """Whether the folder itself has to stay: a mount point, or where somebody works."""
    here = Path.cwd().resolve()
    real = target.resolve()
    return os.path.ismount(target) or here == real or real in here.parents


def _place_inside(draft: Path, target: Path, ours: Collection[str]) -> None:
    """Replace file by file. The provenance comes last: until then the folder is marked as unfinished."""
    new = [path for path in files_below(draft) if path != PROVENANCE]
    marker = {"unfinished": True, "files": {path: {} for path in {*ours, *new} - {PROVENANCE}}}
    write_json(target / PROVENANCE, marker)
    for path in new:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(draft / path, target / path)
    for path in set(ours) - {*new, PROVENANCE}:
        (target / path).unlink(missing_ok=True)
    os.replace(draft / PROVENANCE, target / PROVENANCE)
    shutil.rmtree(draft)


def _share(source: Path, target: Path) -> None:
    """The same file in both folders, until one of the two folders is gone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        return  # it is moved over afterwards instead


def _move_missing(old: Path, target: Path) -> None:
    """Move over what the target does not have."""
    for path in list(files_below(old)):
        if not os.path.lexists(target / path):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            os.rename(old / path, target / path)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))
