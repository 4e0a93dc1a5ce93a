"""Rows of the index and what they mean."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from olive_like.artifacts import FileEntry
from olive_like.store.model import Manifest, Record, Stamp

_TOUCH = 600.0  # a use within so many seconds of the last one is not written down

RECORD_COLUMNS = (
    "key", "digest", "document", "pass_name", "node", "workflow", "run_id", "created", "seconds", "peak_rss",
    "metrics", "extra",
)  # fmt: skip
_RECORD = ", ".join(RECORD_COLUMNS)


class BadRow(Exception):
    """A row does not hold what it should."""


def put_object(connection: sqlite3.Connection, manifest: Manifest, now: float) -> None:
    connection.execute(
        "INSERT INTO objects VALUES (?,?,?,?,?,?,?,?,?) "
        "ON CONFLICT(digest) DO UPDATE SET kind = excluded.kind, attributes = excluded.attributes, "
        "refs = excluded.refs, files = excluded.files, stamps = excluded.stamps, size = excluded.size, "
        "last_used = excluded.last_used",
        (
            manifest.digest, manifest.kind, _text(manifest.attributes), _text(manifest.refs),
            _text([[f.path, f.size, f.digest, f.executable] for f in manifest.files]),
            _text([list(stamp) for stamp in manifest.stamps]), manifest.size, now, now,
        ),
    )  # fmt: skip


def get_object(connection: sqlite3.Connection, digest: str) -> tuple[Manifest, float] | None:
    """The manifest and the time of the last use."""
    row = connection.execute(
        "SELECT kind, attributes, refs, files, stamps, last_used FROM objects WHERE digest = ?", (digest,)
    ).fetchone()
    if row is None:
        return None
    kind, attributes, refs, files, stamps, last_used = row
    try:
        manifest = Manifest(
            digest, kind, _mapping(attributes), _mapping(refs), _files(files),
            tuple(Stamp(*map(int, stamp)) for stamp in json.loads(stamps)),
        )  # fmt: skip
        return manifest, float(last_used)
    except (ValueError, TypeError) as error:
        raise BadRow(f"the index's entry for artifact {digest[:12]} cannot be read") from error


def touch(connection: sqlite3.Connection, digest: str, now: float) -> None:
    connection.execute("UPDATE objects SET last_used = ? WHERE digest = ?", (now, digest))


def drop_objects(connection: sqlite3.Connection, digests: Iterable[str]) -> None:
    connection.executemany("DELETE FROM objects WHERE digest = ?", [(digest,) for digest in digests])


def digest_of(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute("SELECT digest FROM records WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def has_object(connection: sqlite3.Connection, digest: str) -> bool:
    return connection.execute("SELECT 1 FROM objects WHERE digest = ?", (digest,)).fetchone() is not None


def all_refs(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Digest of each object that stands on others -> their digests."""
    rows = connection.execute("SELECT digest, refs FROM objects WHERE refs != '{}'")
    return {digest: set(json.loads(refs).values()) for digest, refs in rows}


def pinned_to(connection: sqlite3.Connection, path: str | bytes) -> str | None:
    row = connection.execute("SELECT digest FROM pins WHERE path = ?", (path,)).fetchone()
    return None if row is None else str(row[0])


def all_pins(connection: sqlite3.Connection) -> list[tuple[Path, str]]:
    """Path of each output and the digest that was put there."""
    return [(Path(os.fsdecode(path)), digest) for path, digest in connection.execute("SELECT path, digest FROM pins")]


def put_record(connection: sqlite3.Connection, record: Record) -> None:
    made_by = [plain(text) for text in (record.pass_name, record.node, record.workflow, record.run_id)]
    numbers = (record.created, record.seconds, record.peak_rss)
    connection.execute(
        f"INSERT OR REPLACE INTO records({_RECORD}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            record.key,
            record.digest,
            _text(record.document),
            *made_by,
            *numbers,
            _text(record.metrics),
            _text(record.extra),
        ),
    )


def get_record(connection: sqlite3.Connection, key: str) -> Record | None:
    """The record by itself; what the artifact is made of is in `with_manifest`."""
    row = connection.execute(f"SELECT {_RECORD} FROM records WHERE key = ?", (key,)).fetchone()
    return None if row is None else record_of(row)


def record_of(row: tuple[Any, ...]) -> Record:
    key, digest, document, pass_name, node, workflow, run_id, created, seconds, peak_rss, metrics, extra = row
    try:
        return Record(
            key=key, digest=digest, document=_mapping(document), pass_name=pass_name, node=node, workflow=workflow,
            run_id=run_id, created=float(created), seconds=float(seconds), peak_rss=int(peak_rss),
            metrics=_mapping(metrics), extra=_mapping(extra),
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise BadRow(f"the record of key {str(key)[:12]} cannot be read") from error


def all_records(connection: sqlite3.Connection, where: str = "", values: tuple[Any, ...] = ()) -> list[Record]:
    return [record_of(row) for row in connection.execute(f"SELECT {_RECORD} FROM records {where}", values)]


def with_manifest(record: Record, manifest: Manifest, last_used: float) -> Record:
    return replace(
        record, digest=manifest.digest, kind=manifest.kind, attributes=manifest.attributes, refs=manifest.refs,
        files=manifest.files, size=manifest.size, last_used=last_used,
    )  # fmt: skip


def needs_touch(last_used: float, now: float) -> bool:
    return not last_used <= now <= last_used + _TOUCH


def put_use(connection: sqlite3.Connection, workflow: str, node: str, key: str, run_id: str) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO uses VALUES (?,?,?,?,?)",
        (plain(workflow), plain(node), key, plain(run_id), time.time()),
    )


def has_external(connection: sqlite3.Connection, digest: str, path: Path) -> bool:
    query = "SELECT 1 FROM externals WHERE digest = ? AND path = ?"
    return connection.execute(query, (digest, path_value(path))).fetchone() is not None


def put_external(connection: sqlite3.Connection, manifest: Manifest, path: Path, now: float) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO externals VALUES (?,?,?,?,?,?)",
        (manifest.digest, path_value(path), manifest.kind, _text(manifest.attributes), _text(manifest.refs), now),
    )


class External(NamedTuple):
    """An artifact outside of the store."""

    path: Path
    kind: str
    attributes: dict[str, Any]
    refs: dict[str, str]


def get_externals(connection: sqlite3.Connection, digest: str) -> list[External]:
    """Where an artifact outside of the store was seen, the latest first."""
    query = "SELECT path, kind, attributes, refs FROM externals WHERE digest = ? ORDER BY at DESC"
    return [
        External(Path(os.fsdecode(path)), kind, json.loads(attributes), json.loads(refs))
        for path, kind, attributes, refs in connection.execute(query, (digest,))
    ]


def plain(text: str) -> str:
    """Text that SQLite can hold: a name from the file system may have bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def path_value(path: Path) -> str | bytes:
    """A path as SQLite can hold it; `os.fsdecode` gives it back."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return os.fspath(path)


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _mapping(text: str) -> Mapping[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a mapping")
    return value


def _files(text: str) -> tuple[FileEntry, ...]:
    return tuple(FileEntry(str(p), int(s), str(d), bool(x)) for p, s, d, x in json.loads(text))
