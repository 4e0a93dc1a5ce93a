"""The key of a node: a digest of a readable document of everything that can change its result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from olive_like.artifacts import Artifact
from olive_like.canonical import digest
from olive_like.graph.model import Node
from olive_like.marks import marked_files, semantic
from olive_like.passes.base import Pass

SCHEMA = 1  # raised when the meaning of the document changes; old records are then simply not found

FileDigest = Callable[[Path], str]


def static_part(node: Node, seed: int, traits: Mapping[str, Any], file_digest: FileDigest) -> dict[str, Any]:
    """The document without its inputs: what is known before anything runs."""
    cls = node.cls
    return {
        "schema": SCHEMA,
        "pass": {"name": node.pass_name, "version": cls.version, "code": plugin_code(cls, file_digest)},
        "settings": _settings(node),
        "files": file_digests(node, file_digest),
        "tools": _versions((*cls.tools_for(node.config), *cls.optional_tools), traits.get("tools")),
        "seed": seed if cls.seeded else None,
        "system": {name: traits.get(name) for name in cls.traits},
    }


def with_inputs(
    static: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]], data: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The whole document."""
    return {**static, "inputs": list(inputs), "data": dict(data)}


def key_of(document: Mapping[str, Any]) -> str:
    """64 hex digits that stand for the document."""
    return digest(document)


def known_input(kind: str, content: str | None) -> dict[str, Any]:
    """An input whose content is known: the digest of it, or of the part that the pass reads."""
    return {"kind": kind, "digest": content}


def awaited_input(kind: type[Artifact], key: str) -> dict[str, Any]:
    """An input that is yet to be made: it stands in a provisional key by its own key."""
    return {"kind": kind.kind, "made_by": key}


def data_free_identity(node: Node) -> list[Any]:
    """What makes a node the same step as another, its inputs aside; files count by their names."""
    return [node.pass_name, node.cls.version, _settings(node), [[f.field, str(f.path)] for f in node_files(node)]]


def _settings(node: Node) -> dict[str, Any]:
    settings = semantic(node.config)
    for name in node.data:
        settings.pop(name, None)  # its node's output is among the inputs
    return settings


def file_digests(node: Node, file_digest: FileDigest) -> dict[str, Any]:
    """Setting -> digest of the content of each file that it names."""
    return {
        marked.field: {"digest": file_digest(marked.path), "suffix": marked.path.suffix}
        for marked in node_files(node)
        if marked.in_key and marked.path.exists()
    }


def node_files(node: Node) -> list[Any]:
    """The files that a node's settings name; those of data sets that have a node of their own left out."""
    return [
        marked
        for marked in marked_files(node.config)
        if marked.field.partition(".")[0].partition("[")[0] not in node.data
    ]


def _versions(tools: Sequence[str], elsewhere: Any) -> dict[str, Any]:
    """Versions of tools: those here, or those that a system says its own environment has."""
    if elsewhere is None:
        return {tool: tool_version(tool) for tool in tools}
    if isinstance(elsewhere, Mapping):
        return {tool: elsewhere.get(tool.lower().replace("_", "-")) for tool in tools}
    return dict.fromkeys(tools, elsewhere)


@cache
def tool_version(distribution: str) -> str | None:
    """The installed version of a distribution; None if it is missing."""
    from importlib.metadata import PackageNotFoundError, version  # 10 ms: not for graphs without tools

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def plugin_code(cls: type[Pass], file_digest: FileDigest) -> str | None:
    """Digest of the source of a pass from outside; built-in passes have their version for that."""
    places = _outside(cls)  # type: ignore[arg-type]  # a class is hashable
    return digest(sorted(file_digest(place) for place in places)) if places else None


@cache
def _outside(cls: type[Pass]) -> tuple[Path, ...]:
    """The packages from which a pass and what it derives from come, whole: what it imports while it runs counts."""
    modules = {base.__module__ for base in cls.__mro__ if issubclass(base, Pass)}
    return tuple({_source(module) for module in modules if module.partition(".")[0] != "olive_like"})


def _source(module: str) -> Path:
    """The folder of a module's package, or the file of a module that stands alone."""
    top = sys.modules[module.partition(".")[0]]
    file = getattr(top, "__file__", None)
    if file is None:  # a namespace, which others share
        return Path(str(sys.modules[module].__file__)).parent
    return Path(file).parent if hasattr(top, "__path__") else Path(file)
