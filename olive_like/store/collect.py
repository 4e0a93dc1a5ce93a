"""Make room: remove what was not used for the longest time, and what dead processes left behind."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.errors import StoreError
from olive_like.store import files, leases, tables
from olive_like.store.listing import Listed, listing, unlisted
from olive_like.store.locks import FileLock
from olive_like.store.seal import paths_below
from olive_like.store.trouble import storing

if TYPE_CHECKING:
    from olive_like.store.store import Store

_DAY = 86400.0
_SCRATCH_DAYS = 30  # checkpoints of passes that nobody took up again
_QUARANTINE_DAYS = 7
_RUN_DAYS = 90  # what runs said: events, logs, reports; what searches remember
_RECORD_DAYS = 180  # records without an artifact, of use to `explain` only
_MEMO_DAYS = 90
_BATCH = 64


@dataclass
class Collection:
    """What gc removed, or with `dry_run` would remove."""

    dry_run: bool
    removed: list[Listed] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    freed: int = 0
    kept: int = 0  # bytes of artifacts that stay
    in_use: int = 0  # bytes of artifacts that a live run or an output needs

    def to_json(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run, "removed": [listed.to_json() for listed in self.removed],
            "leftovers": [str(path) for path in self.leftovers],
            "freed_bytes": self.freed, "kept_bytes": self.kept, "in_use_bytes": self.in_use,
        }  # fmt: skip


def collect(store: Store, max_size: int | None, older_than: float | None, dry_run: bool) -> Collection:
    """Remove artifacts unused for `older_than` seconds, then the longest unused until `max_size` bytes are left."""
    result = Collection(dry_run)
    now = time.time()
    if not store.root.exists():
        return result
    with storing(store.root):
        _check_locks(store)
        _empty_trash(store)
        everything = listing(store) + [listed for path in unlisted(store) if (listed := _as_listed(path)) is not None]
        for victims in _batches(_victims(store, everything, max_size, older_than, now, result)):
            _remove(store, victims, result)
        gone = {listed.digest for listed in result.removed}
        result.freed = sum(listed.size for listed in result.removed)
        result.kept = sum(listed.size for listed in everything if listed.digest not in gone)
        for path in _leftovers(store, older_than, now):
            result.leftovers.append(path)
            if not dry_run:
                files.remove_tree(path)
        if not dry_run:
            _forget(store, now)
            _remove_idle_locks(store)
            _empty_trash(store)
    return result


def _check_locks(store: Store) -> None:
    with FileLock(store.layout.locks / "gc", keep=True) as lock:
        if not lock.real:
            raise StoreError(
                f"{store.root} knows no locks, so gc cannot tell what is in use",
                "Remove the whole cache when nothing runs, or put it on another file system.",
            )


def _victims(
    store: Store,
    everything: list[Listed],
    max_size: int | None,
    older_than: float | None,
    now: float,
    result: Collection,
) -> list[Listed]:
    """Who goes, in this order: the longest unused first, nobody before those who stand on it."""
    claimed = _claimed(store)
    result.in_use = sum(listed.size for listed in everything if listed.digest in claimed)
    total = sum(listed.size for listed in everything)
    needed_by = _dependants(store)
    chosen: dict[str, Listed] = {}
    waiting = sorted((item for item in everything if item.digest not in claimed), key=lambda item: item.last_used)
    progress = True
    while progress:  # again, because removing an adapter frees its base
        progress = False
        for listed in waiting:
            too_old = older_than is not None and listed.last_used < now - older_than
            too_much = max_size is not None and total > max_size
            if listed.digest in chosen or not (too_old or too_much):
                continue
            if needed_by.get(listed.digest, set()) - chosen.keys():
                continue
            chosen[listed.digest] = listed
            total -= listed.size
            progress = True
    return list(chosen.values())


def _claimed(store: Store) -> set[str]:
    """Digests that a live process or an output needs, with all that they stand on."""
    claimed = set(_pinned(store)).union(*leases.live(store.layout.leases).values())
    refs = _refs(store)
    todo = list(claimed)
    while todo:
        for digest in refs.get(todo.pop(), ()):
            if digest not in claimed:
                claimed.add(digest)
                todo.append(digest)
    return claimed


def _refs(store: Store) -> dict[str, set[str]]:
    nothing: dict[str, set[str]] = {}
    return store.index.read(tables.all_refs, nothing)


def _dependants(store: Store) -> dict[str, set[str]]:
    result: dict[str, set[str]] = {}
    for digest, refs in _refs(store).items():
        for ref in refs:
            result.setdefault(ref, set()).add(digest)
    return result


def _pinned(store: Store) -> Iterable[str]:
    """Digests of outputs that still are what was put there; other pins are dropped."""
    nothing: list[tuple[Path, str]] = []
    for path, digest in store.index.read(tables.all_pins, nothing):
        if refers_to(path, digest):
            yield digest
        else:
            store.unpin(path)


def refers_to(output: Path, digest: str) -> bool:
    """Whether an output's provenance names the artifact."""
    note = output / "provenance.json" if output.is_dir() else output
    try:
        return digest.encode() in note.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return False


def _remove(store: Store, victims: Sequence[Listed], result: Collection) -> None:
    if result.dry_run:
        result.removed += victims
        return
    # Whoever is about to use an artifact claims it under this lock first: between the look at the claims
    # and the move nobody can begin.
    with FileLock(store.layout.locks / "gc", keep=True):
        claimed = _claimed(store)
        free = [listed for listed in victims if listed.digest not in claimed]
        # First the entries, then the folders: a folder without an entry is harmless, the reverse is a damage.
        store.index.write(lambda connection: tables.drop_objects(connection, [item.digest for item in free]))
        files.make_folder(store.layout.trash)
        for listed in free:
            if listed.path.exists():
                os.chmod(listed.path, 0o755)  # a folder can be moved only by who may write in it
                files.rename(listed.path, store.layout.trash / f"{listed.digest[:16]}-{os.urandom(4).hex()}")
    result.removed += free
    _empty_trash(store)


def _empty_trash(store: Store) -> None:
    if store.layout.trash.exists():
        for path in store.layout.trash.iterdir():
            files.remove_tree(path)


def _leftovers(store: Store, older_than: float | None, now: float) -> Iterable[Path]:
    layout = store.layout
    for path in _children(layout.staging):
        if leases.is_dead(layout.leases, path.name.partition(".")[0]):
            yield path
    for folder, days in ((layout.scratch, _SCRATCH_DAYS), (layout.quarantine, _QUARANTINE_DAYS)):
        for path in _children(folder):
            age = now - _last_change(path)
            if age > (days * _DAY if older_than is None else older_than) and _is_idle(store, path.name):
                yield path
    silent = _RUN_DAYS * _DAY if older_than is None else max(older_than, _DAY)
    for folder in (layout.runs, layout.searches):
        yield from (path for path in _children(folder) if now - _last_change(path) > silent and _is_over(path))
    for shard in _children(layout.objects):
        for path in _children(shard):
            if path.name.startswith(".") and now - _last_change(path) > _DAY:
                yield path


def _is_over(run: Path) -> bool:
    """Whether the process of a run is gone: it holds its log's lock; where there are no locks its silence says so."""
    log = run / "events.jsonl"
    if not log.exists():
        return True
    lock = FileLock(log, keep=True)
    over = lock.try_acquire()
    lock.release()
    return over


def _is_idle(store: Store, key: str) -> bool:
    lock = store.key_lock(key)
    if not lock.try_acquire():
        return False
    lock.release()
    return True


def _remove_idle_locks(store: Store) -> None:
    for path in _children(store.layout.locks):
        if path.name.startswith(("key-", "object-")):
            lock = FileLock(path)
            if lock.try_acquire():
                lock.release()


def _forget(store: Store, now: float) -> None:
    def forget(connection: Any) -> None:
        connection.execute("DELETE FROM memo WHERE at < ?", (now - _MEMO_DAYS * _DAY,))
        connection.execute("DELETE FROM externals WHERE at < ?", (now - _RECORD_DAYS * _DAY,))
        connection.execute(
            "DELETE FROM records WHERE created < ? AND digest NOT IN (SELECT digest FROM objects)",
            (now - _RECORD_DAYS * _DAY,),
        )
        connection.execute("DELETE FROM uses WHERE key NOT IN (SELECT key FROM records)")

    store.index.write(forget)


def _as_listed(path: Path) -> Listed | None:
    try:
        size = sum(status.st_size for _, status in paths_below(path))
        changed = path.stat().st_ctime  # when it was moved there
    except FileNotFoundError:
        return None  # another gc has it
    return Listed(path.name, "unknown", size, changed, changed, path, ())


def _last_change(path: Path) -> float:
    """When something in a folder was last written; for what is going away at this moment: just now."""
    try:
        times = [path.lstat().st_mtime]
        if path.is_dir() and not path.is_symlink():
            times += [status.st_mtime for _, status in paths_below(path)]
    except FileNotFoundError:
        return time.time()
    return max(times)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _batches(items: Sequence[Listed]) -> Iterable[Sequence[Listed]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SPANS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY, "w": 7 * _DAY}


def parse_size(text: str) -> int:
    """`50GB`, `1.5GiB`, `1000` in bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", text.lower())
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no size; write 50GB, 1.5GiB or 800MB")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_span(text: str) -> float:
    """`30d`, `12h` in seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text.lower())
    if match is None:
        raise ValueError(f"{text!r} is no span of time; write 30d, 12h or 2w")
    return float(match[1]) * _SPANS[match[2]]
