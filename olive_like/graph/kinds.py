"""Kinds of artifacts along the edges of a graph."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from olive_like.artifacts import Artifact
from olive_like.graph.model import SOURCE, Node
from olive_like.passes.base import Pass, arity_words, kind_words

if TYPE_CHECKING:
    from olive_like.workflow.problems import Problems


def check_kinds(order: list[Node], source: type[Artifact] | None, problems: Problems) -> dict[str, Node]:
    """The nodes with the kind that each makes, in the same order; what does not fit goes to `problems`."""
    checked: dict[str, Node] = {}
    for node in order:
        kinds = [source or Artifact if name == SOURCE else checked[name].kind for name in node.inputs]
        makes = node.cls.produces or (kinds[0] if kinds else Artifact)
        checked[node.name] = replace(node, kind=makes)
        _check(node, kinds, problems)
    return checked


def _check(node: Node, kinds: list[type[Artifact]], problems: Problems) -> None:
    least, most = node.cls.arity
    what = f"{node.name} ({node.pass_name})"
    if not least <= len(kinds) <= (len(kinds) if most is None else most):
        if kinds:
            problems.add("OL205", f"{what} takes {arity_words(node.cls.arity)}, not {len(kinds)}", node.written_at)
        else:
            problems.add("OL208", f"{what} needs a model, and the workflow has no `{SOURCE}`", node.written_at)
        return
    for name, kind in zip(node.inputs, kinds, strict=True):
        if not _fits(kind, node.cls):
            problems.add(
                "OL203",
                f"{what} takes {kind_words(node.cls.accepts)}, but {name} makes {kind.kind}",
                node.written_at,
                _bridge(kind, node.cls),
            )
            return
    for problem in node.cls.problems(node.config, kinds):
        problems.add("OL209", f"{what}: {problem}", node.written_at)


def _fits(kind: type[Artifact], cls: type[Pass]) -> bool:
    # A node of unknown kind (it makes what its input is) is judged when it runs.
    return kind is Artifact or issubclass(kind, cls.accepts)


def _bridge(kind: type[Artifact], cls: type[Pass]) -> str:
    """Passes that make of the one kind what the other needs."""
    from olive_like.passes.registry import load, working

    wanted = cls.accepts if isinstance(cls.accepts, tuple) else (cls.accepts,)
    between = [
        name
        for name in working()
        if (other := load(name)).produces in wanted
        and other.accepts is not Artifact
        and _fits(kind, other)
        and other.available()
    ]
    return f"Put one of these in between: {', '.join(between[:6])}" if between else ""
