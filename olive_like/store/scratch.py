"""Folders where interrupted passes find their checkpoints again, also those that another key left."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from olive_like.store import files

if TYPE_CHECKING:
    from olive_like.store.store import Store

_FAMILY = ".family"  # file in a folder: digest of what all keys have in common that can use its checkpoints


def prepare(store: Store, key: str, family: str) -> Path:
    """The folder of a key; where it is empty, it gets what an interrupted pass of the same family left in its own."""
    path = store.layout.scratch / key
    files.make_folder(path)
    if not family:
        return path
    if _is_empty(path):
        _take_over(store, path, family)
    if _family(path) != family:
        files.write(path / _FAMILY, family.encode())
    return path


def _take_over(store: Store, path: Path, family: str) -> None:
    draft = path.with_name(f"{path.name}.part")  # of no family before it is whole
    others = [one for one in store.layout.scratch.iterdir() if one != path and _family(one) == family]
    for other in sorted(others, key=_age, reverse=True):
        lock = store.key_lock(other.name)
        if not lock.try_acquire():
            continue  # it is running
        try:
            if not lock.real:
                return  # it may be running
            if not _is_empty(other):
                files.remove_tree(draft)
                _duplicate(other, draft)
                files.unlink(path / _FAMILY)
                files.replace(draft, path)  # onto an empty folder
                return
        except FileNotFoundError:
            continue  # gc took it away
        finally:
            lock.release()


def _duplicate(folder: Path, target: Path) -> None:
    """Both keys have the files then; either may remove its own."""
    files.make_folder(target)
    for child in folder.iterdir():
        if child.is_dir():
            _duplicate(child, target / child.name)
        elif child.name != _FAMILY:
            files.link(child, target / child.name)


def _family(folder: Path) -> str:
    with suppress(OSError):
        return (folder / _FAMILY).read_text("utf-8")
    return ""


def _is_empty(folder: Path) -> bool:
    return not folder.is_dir() or all(child.name == _FAMILY for child in folder.iterdir())


def _age(folder: Path) -> float:
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0
