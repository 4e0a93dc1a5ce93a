"""How much memory the passes of a plan will need, told before anything runs."""

from __future__ import annotations

from collections.abc import Container, Iterable

from olive_like.artifacts import Adapter, Artifact, HfModel
from olive_like.graph.model import SOURCE, Node
from olive_like.passes.base import Pass


def estimates(nodes: Iterable[Node], to_run: Container[str], source: Artifact | None) -> dict[str, int]:
    """Peak bytes of every node that is to run and can tell; `nodes` are in running order.

    What a node takes may have to be made first. A model that comes of the input model by training, merging or
    quantising has its layers, so the input model stands in for it.
    """
    if not isinstance(source, (HfModel, Adapter)):
        return {}
    alike = {SOURCE}
    found: dict[str, int] = {}
    for node in nodes:
        if not alike.issuperset(node.inputs[:1]):
            continue
        if issubclass(node.kind, (HfModel, Adapter)):
            alike.add(node.name)
        if node.name in to_run and _tells(node.cls):
            needed = node.cls.memory_estimate([source] * len(node.inputs), node.config)
            if needed is not None:
                found[node.name] = needed
    return found


def _tells(cls: type[Pass]) -> bool:
    return cls.memory_estimate.__func__ is not Pass.memory_estimate.__func__  # type: ignore[attr-defined]
