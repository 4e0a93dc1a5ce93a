"""Mappings and lists that know where in the file they were written.

A position belongs to a key and to a value, not to a path, so whoever moves an entry with `move` or
`put` takes its position along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Loc = tuple[str | int, ...]


class Mark(NamedTuple):
    """A place in a file: line and column from 1, and how many characters belong to it."""

    line: int
    column: int
    length: int = 1


class LocatedDict(dict[str, Any]):
    """A mapping with the places of itself, its keys and its values."""

    __slots__ = ("keys_at", "mark", "values_at")

    def __init__(self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), mark: Mark | None = None) -> None:
        super().__init__(entries)
        self.mark = mark
        self.keys_at: dict[str, Mark] = {}
        self.values_at: dict[str, Mark] = {}

    def put(self, key: str, value: Any, key_at: Mark | None = None, value_at: Mark | None = None) -> None:
        """Set an entry together with its places."""
        self[key] = value
        for places, mark in ((self.keys_at, key_at), (self.values_at, value_at or mark_of(value))):
            if mark is None:
                places.pop(key, None)
            else:
                places[key] = mark

    def move(self, key: str, target: LocatedDict, new_key: str | None = None) -> None:
        """Take an entry out and put it into `target` (or here, under another name), places included."""
        value = self.pop(key)
        target.put(new_key or key, value, self.keys_at.pop(key, None), self.values_at.pop(key, None))


class LocatedList(list[Any]):
    """A list with the places of itself and its items."""

    __slots__ = ("items_at", "mark")

    def __init__(self, items: Iterable[Any] = (), mark: Mark | None = None) -> None:
        super().__init__(items)
        self.mark = mark
        self.items_at: list[Mark | None] = []

    def add(self, item: Any, at: Mark | None = None) -> None:
        """Append an item together with its place."""
        self.items_at.extend([None] * (len(self) - len(self.items_at)))
        self.append(item)
        self.items_at.append(at or mark_of(item))


def mark_of(value: Any) -> Mark | None:
    """Where a mapping or list begins; nothing for other values, whose place their holder knows."""
    return value.mark if isinstance(value, (LocatedDict, LocatedList)) else None


def find_mark(tree: Any, loc: Sequence[str | int], *, key: bool = False) -> Mark | None:
    """The place of the value at `loc` (of its key, with `key`), or the nearest one above it that is known."""
    found = mark_of(tree)
    last = len(loc) - 1
    for depth, part in enumerate(loc):
        if isinstance(tree, LocatedDict):
            name = str(part)
            if name not in tree:
                break
            at_key, at_value = tree.keys_at.get(name), tree.values_at.get(name)
            deeper_is_missing = depth < last and not _has(tree[name], loc[depth + 1])
            wants_key = (key and depth == last) or deeper_is_missing
            found = (at_key or at_value if wants_key else at_value or at_key) or found
            tree = tree[name]
        elif isinstance(tree, LocatedList):
            index = index_of(tree, part)
            if index is None:
                break
            found = (tree.items_at[index] if index < len(tree.items_at) else None) or mark_of(tree[index]) or found
            tree = tree[index]
        else:
            break
    return found


def _has(tree: Any, part: str | int) -> bool:
    if isinstance(tree, dict):
        return str(part) in tree
    return isinstance(tree, list) and index_of(tree, part) is not None


def index_of(items: list[Any], part: str | int) -> int | None:
    """The index that a part of a path means: itself, or that of the entry with this `name`."""
    if isinstance(part, int):
        return part if 0 <= part < len(items) else None
    names = (item.get("name") if isinstance(item, dict) else None for item in items)
    return next((index for index, name in enumerate(names) if name == part), None)


def plain(tree: Any) -> Any:
    """The same data as ordinary dicts and lists."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [plain(item) for item in tree]
    return tree
