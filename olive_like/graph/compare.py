"""Two runs, field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olive_like.errors import WorkflowError
from olive_like.graph.reasons import Reason, changes


@dataclass(frozen=True)
class NodeDifference:
    """What differs in one node."""

    name: str
    only_in: str | None  # "old" or "new", if one run has it alone
    reasons: tuple[Reason, ...]
    old_output: str | None
    new_output: str | None

    @property
    def same(self) -> bool:
        return self.only_in is None and not self.reasons and self.old_output == self.new_output

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "only_in": self.only_in,
            "changes": [reason.to_json() for reason in self.reasons],
            "output": {"old": self.old_output, "new": self.new_output},
        }


@dataclass(frozen=True)
class Difference:
    """What differs between two runs; nodes that are the same are left out."""

    old: str
    new: str
    nodes: tuple[NodeDifference, ...]

    def to_json(self) -> dict[str, Any]:
        return {"old": self.old, "new": self.new, "nodes": [node.to_json() for node in self.nodes]}

    def to_text(self) -> str:
        if not self.nodes:
            return f"{self.old} and {self.new} are the same: every key and every output"
        return "\n".join(line for node in self.nodes for line in _lines(node))


def compare(old: Path, new: Path) -> Difference:
    """Compare two runs, given by their folders, by what their keys are made of and what came out."""
    before, after = _keys(old), _keys(new)
    nodes = [_compare(name, before.get(name), after.get(name)) for name in dict.fromkeys([*after, *before])]
    return Difference(old.name, new.name, tuple(node for node in nodes if not node.same))


def _keys(run: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((run / "keys.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkflowError(f"the run {run.name} has no readable keys: {error}", "Did it end?") from None
    return document


def _compare(name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> NodeDifference:
    if old is None or new is None:
        return NodeDifference(name, "new" if old is None else "old", (), None, None)
    return NodeDifference(name, None, tuple(changes(old["document"], new["document"])), old["digest"], new["digest"])


def _lines(node: NodeDifference) -> list[str]:
    if node.only_in:
        return [f"{node.name}: only in the {node.only_in} run"]
    lines = [f"{node.name}: {reason}" for reason in node.reasons]
    if node.old_output != node.new_output:
        lines.append(f"{node.name}: another output: {_short(node.old_output)} → {_short(node.new_output)}")
    return lines


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"
