"""A plan as lines of text: a tree where the graph is one, with joins said aloud."""

from __future__ import annotations

from olive_like.graph import places
from olive_like.graph.model import SOURCE
from olive_like.graph.needs import install_command, needs_of
from olive_like.graph.plan import Plan, PlanNode, Status

_MARKS = {Status.HIT: "hit  ", Status.MISS: "run  ", Status.WAITS: "waits"}


def draw(plan: Plan, *, reasons: bool = True) -> str:
    """The plan as a tree, one node a line: mark, name, pass, system, key and the first reason."""
    children: dict[str | None, list[str]] = {}
    for name, item in plan.nodes.items():
        children.setdefault(_parent(item), []).append(name)
    lines: list[str] = []
    if SOURCE in children:
        lines.append(f"{SOURCE}  {_source(plan)}")
    # A stack, not recursion: a chain may be thousands of passes long.
    stack = [(name, 0 if parent is None else 1) for parent in (SOURCE, None) for name in children.get(parent, [])]
    stack.reverse()
    while stack:
        name, depth = stack.pop()
        lines.append(_line(plan.nodes[name], min(depth, 30), reasons, plan.memory.get(name)))
        below = children.get(name, [])
        # A chain stays at its depth, so that a long one does not run off the screen.
        stack.extend((child, depth + (len(below) > 1)) for child in reversed(below))
    lines.append("")
    lines.extend(places.lines(plan.places))
    lines.append(summary(plan))
    return "\n".join(lines)


def summary(plan: Plan) -> str:
    """How many nodes hit, run and wait."""
    counts = dict.fromkeys(Status, 0)
    for item in plan.nodes.values():
        counts[item.status] += 1
    return (
        f"{len(plan.nodes)} nodes: {counts[Status.HIT]} in the cache, {counts[Status.MISS]} to run, "
        f"{counts[Status.WAITS]} waiting for those"
    )


def _parent(item: PlanNode) -> str | None:
    return item.node.inputs[0] if item.node.inputs else None


def _source(plan: Plan) -> str:
    if plan.source is None:
        return "not on this machine yet"
    return f"{plan.source.kind} {(plan.source.digest or '')[:12]}"


def _line(item: PlanNode, depth: int, reasons: bool, memory: int | None) -> str:
    node = item.node
    joins = node.upstream[1:]
    text = f"{'  ' * depth}{_MARKS[item.status]}  {node.name}  {node.pass_name}  on {node.system}  {item.key[:12]}"
    if joins:
        text += f"  with {', '.join(joins)}"
    needs = needs_of(node)
    if needs.code:
        text += f"  executes {', '.join(needs.code)}"
    if needs.missing:
        text += f"  needs {', '.join(install_command(name) for name in needs.missing)}"
    if memory is not None:
        text += f"  about {memory / 2**30:.1f} GiB of memory"
    if reasons and item.reasons:
        more = f" (+{len(item.reasons) - 1})" if len(item.reasons) > 1 else ""
        text += f"  # {item.reasons[0]}{more}"
    return text
