"""What a node needs besides its inputs: libraries that may be missing, and code of the user's that it executes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from olive_like.graph.keys import node_files, tool_version
from olive_like.graph.model import Node


@dataclass(frozen=True)
class Needs:
    missing: tuple[str, ...]  # distributions that are not installed
    code: tuple[str, ...]  # files of the user's that will be executed

    def to_json(self) -> dict[str, Any]:
        return {
            "missing": [{"distribution": name, "install": install_command(name)} for name in self.missing],
            "executes": list(self.code),
        }


def needs_of(node: Node) -> Needs:
    """The needs of a node, found without importing what it needs."""
    return Needs(
        tuple(tool for tool in node.cls.tools_for(node.config) if tool_version(tool) is None),
        tuple(str(file.path) for file in node_files(node) if file.code),
    )


@cache
def install_command(distribution: str) -> str:
    """The `pip install` that brings a distribution: the extra of this package that lists it, if one does."""
    from importlib.metadata import requires

    for line in requires("olive-like") or ():
        name = re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        if extra and extra[1] not in ("test", "lint") and _same(name, distribution):
            return f"pip install 'olive-like[{extra[1]}]'"
    return f"pip install {distribution}"


def _same(one: str, other: str) -> bool:
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()
