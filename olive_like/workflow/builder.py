"""Builds a located tree from what a YAML or JSON reader meets, and keeps it within bounds.

Nothing here recurses, so a file cannot overflow the stack whatever it holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from olive_like.diagnostics import Diagnostic
from olive_like.diagnostics.codes import problem
from olive_like.workflow.located import LocatedDict, LocatedList, Mark

MAX_DEPTH = 100
MAX_NODES = 500_000  # after aliases are expanded: fifty values for each of 10,000 passes


class Unreadable(Exception):
    """The rest of the file makes no sense; the problem has been noted."""


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is being filled."""

    holder: LocatedDict | LocatedList
    nodes_before: int
    anchor: str | None = None
    height: int = 1
    key: str | None = None  # set between a key and its value
    key_at: Mark | None = None
    merging: bool = False  # the key is YAML's `<<`
    ignored: bool = False  # the value of a duplicate key: read, reported, and left out
    merges: list[LocatedDict] = field(default_factory=list)


@dataclass(slots=True)
class _Anchored:
    value: Any
    mark: Mark
    nodes: int = 1
    height: int = 0


class TreeBuilder:
    """Takes keys and values in the order of the file."""

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.problems: list[Diagnostic] = []
        self.root: Any = None
        self.root_at: Mark | None = None
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}  # None: begun and not ended
        self._nodes = 0

    # -- problems ----------------------------------------------------------------------------------

    def problem(self, code: str, message: str, at: Mark | None, hint: str = "") -> None:
        """Note a problem and go on."""
        line, column, length = at or Mark(1, 1)
        self.problems.append(problem(code, message, file=self.file, line=line, column=column, length=length, hint=hint))

    def give_up(self, code: str, message: str, at: Mark | None, hint: str = "") -> Unreadable:
        """Note a problem after which nothing can be read; the caller raises what this returns."""
        self.problem(code, message, at, hint)
        return Unreadable()

    # -- structure ---------------------------------------------------------------------------------

    @property
    def wants_key(self) -> bool:
        """Whether what comes next is a key."""
        frame = self._stack[-1] if self._stack else None
        return frame is not None and frame.key is None and isinstance(frame.holder, LocatedDict)

    @property
    def current_key(self) -> str | None:
        """The key whose value comes next."""
        return self._stack[-1].key if self._stack else None

    def begin(self, holder: LocatedDict | LocatedList, at: Mark, anchor: str | None = None) -> None:
        """A mapping or list begins."""
        if self.wants_key:
            raise self.give_up(
                "OL011",
                "a key must be text, not a " + ("mapping" if isinstance(holder, LocatedDict) else "list"),
                at,
                "Text that begins with { or [ must stand in quotes.",
            )
        if len(self._stack) >= MAX_DEPTH:
            raise self._too_deep(at)
        holder.mark = at
        self._count(1, at)
        self._stack.append(_Frame(holder, self._nodes - 1, anchor))
        if anchor is not None:
            self._anchors[anchor] = None

    def end(self) -> None:
        """The innermost mapping or list ends."""
        frame = self._stack.pop()
        holder = frame.holder
        if isinstance(holder, LocatedDict):
            for merged in frame.merges:
                for key, value in merged.items():
                    if key not in holder:
                        holder.put(key, value, merged.keys_at.get(key), merged.values_at.get(key))
        mark = holder.mark or Mark(1, 1)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = _Anchored(holder, mark, self._nodes - frame.nodes_before, frame.height)
        self._place(holder, mark, frame.height)

    def key(self, key: str, at: Mark, *, merging: bool = False) -> None:
        """A key, whose value comes next; `merging` for YAML's `<<`, whose value is merged into the mapping."""
        frame = self._stack[-1]
        frame.key, frame.key_at, frame.merging = key, at, merging
        first = frame.holder.keys_at.get(key) if isinstance(frame.holder, LocatedDict) else None
        frame.ignored = first is not None
        if first is not None:
            self.problem(
                "OL005",
                f"the key {key!r} occurs twice",
                at,
                f"It was written first in line {first.line}; only one of the two can count.",
            )

    def scalar(self, value: Any, at: Mark, anchor: str | None = None) -> None:
        """A value that is neither mapping nor list."""
        if anchor is not None:
            self._anchors[anchor] = _Anchored(value, at)
        self._count(1, at)
        self._place(value, at, 0)

    def alias(self, name: str, at: Mark) -> None:
        """A copy of what was written before, under an anchor."""
        if name not in self._anchors:
            raise self.give_up("OL004", f"there is no anchor &{name} above this alias", at)
        anchored = self._anchors[name]
        if anchored is None:
            raise self.give_up("OL012", f"the alias *{name} stands inside of what it refers to", at)
        if self.wants_key:
            if not isinstance(anchored.value, str):
                raise self.give_up("OL011", "a key must be text", at)
            self.key(anchored.value, at)
            return
        if len(self._stack) + anchored.height > MAX_DEPTH:
            raise self._too_deep(at)
        self._count(anchored.nodes, at)
        self._place(copied(anchored.value), anchored.mark, anchored.height)

    def finish(self) -> LocatedDict | None:
        """The whole tree, if it is what a workflow can be."""
        if isinstance(self.root, LocatedDict):
            return self.root
        if self.root_at is None or self.root is None:
            self.problem("OL010", "the file is empty", self.root_at, "A workflow has at least `passes:`.")
        else:
            what = "a list" if isinstance(self.root, list) else "a single value"
            self.problem("OL010", f"a workflow is a mapping (`key: value`), and this is {what}", self.root_at)
        return None

    # -- inside ------------------------------------------------------------------------------------

    def _place(self, value: Any, at: Mark, height: int) -> None:
        if not self._stack:
            self.root, self.root_at = value, at
            return
        frame = self._stack[-1]
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.holder, LocatedList):
            frame.holder.append(value)
            frame.holder.items_at.append(at)
            return
        key, frame.key = frame.key, None
        assert key is not None
        if frame.ignored:
            return
        if frame.merging:
            self._merge(frame, value, at)
            return
        frame.holder[key] = value
        if frame.key_at is not None:
            frame.holder.keys_at[key] = frame.key_at
        frame.holder.values_at[key] = at

    def _merge(self, frame: _Frame, value: Any, at: Mark) -> None:
        """YAML's `<<: *base`: the entries of another mapping, where this one has none of its own."""
        values = value if isinstance(value, LocatedList) else [value]
        if not all(isinstance(item, LocatedDict) for item in values):
            self.problem("OL004", "`<<` takes a mapping or a list of mappings", at)
            return
        frame.merges.extend(values)

    def _count(self, nodes: int, at: Mark) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self.give_up(
                "OL003",
                f"the file has more than {MAX_NODES:,} values once its aliases are expanded",
                at,
                "A workflow of 10,000 passes has about a tenth of that.",
            )

    def _too_deep(self, at: Mark) -> Unreadable:
        return self.give_up("OL003", f"mappings and lists are nested more than {MAX_DEPTH} deep", at)


def copied(value: Any) -> Any:
    """A copy, so that what is done to one use of an anchor does not show in another."""
    if isinstance(value, LocatedDict):
        copy = LocatedDict({key: copied(item) for key, item in value.items()}, value.mark)
        copy.keys_at, copy.values_at = dict(value.keys_at), dict(value.values_at)
        return copy
    if isinstance(value, LocatedList):
        items = LocatedList([copied(item) for item in value], value.mark)
        items.items_at = list(value.items_at)
        return items
    return value
