"""Which records a node of a workflow has had."""

from __future__ import annotations

from olive_like.store import tables
from olive_like.store.index import Index
from olive_like.store.model import Record

_COLUMNS = ", ".join(f"records.{name}" for name in tables.RECORD_COLUMNS)


def last_key(index: Index, workflow: str, node: str) -> str | None:
    query = "SELECT key FROM uses WHERE workflow = ? AND node = ? ORDER BY at DESC LIMIT 1"
    row = index.read(
        lambda connection: connection.execute(query, (tables.plain(workflow), tables.plain(node))).fetchone(), None
    )
    return None if row is None else str(row[0])


def records(index: Index, workflow: str, node: str, limit: int) -> list[Record]:
    query = (
        f"SELECT {_COLUMNS} FROM uses JOIN records ON records.key = uses.key "
        "WHERE uses.workflow = ? AND uses.node = ? ORDER BY uses.at DESC LIMIT ?"
    )
    values = (tables.plain(workflow), tables.plain(node), limit)
    rows: list[tuple[object, ...]] = index.read(lambda c: c.execute(query, values).fetchall(), [])
    return [record for row in rows if (record := _readable(row)) is not None]


def _readable(row: tuple[object, ...]) -> Record | None:
    try:
        return tables.record_of(row)
    except tables.BadRow:
        return None  # it names no reason that `explain` could give
