"""In words: why a pass would run, or why not."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from olive_like.errors import WorkflowError
from olive_like.graph.plan import Plan, PlanNode, Status
from olive_like.graph.reasons import Why

_MOST = 20  # reasons of passes above that are written out


def explain(plan: Plan, name: str) -> str:
    """What happens to one node of a plan, and why."""
    node = find(plan, name)
    head = f"{name} ({node.node.pass_name})"
    if node.status is Status.HIT:
        assert node.record is not None
        return f"{head} would not run: its result is in the cache.\n  key {node.key}\n  output {node.record.digest}"
    if node.status is Status.WAITS:
        first = f"{head} waits for its input; whether it runs is known then."
    else:
        first = f"{head} would run."
    lines = [f"  - {reason}" for reason in node.reasons]
    roots = _roots(plan, node)
    if roots:
        lines.append("  upstream:")
        said = [f"    - {root.node.name}: {reason}" for root in roots for reason in root.reasons]
        lines += said[:_MOST]
        if len(said) > _MOST:
            lines.append(f"    (and {len(said) - _MOST} more)")
    return "\n".join([first, *lines])


def find(plan: Plan, name: str) -> PlanNode:
    """The node of that name, or an error with the nearest one."""
    if name not in plan.nodes:
        raise WorkflowError(f"the workflow has no pass {name!r}", nearest_hint(name, plan.nodes))
    return plan.nodes[name]


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """The nearest name, or those there are."""
    from olive_like.diagnostics.nearest import did_you_mean

    return did_you_mean(name, list(known)) or f"There are: {', '.join(islice(known, 20))}."


def _roots(plan: Plan, node: PlanNode) -> list[PlanNode]:
    """The nodes above that run for a reason of their own."""
    above = plan.graph.ancestors(node.node.name)
    return [
        plan.nodes[name]
        for name in above
        if any(reason.code is not Why.UPSTREAM for reason in plan.nodes[name].reasons)
    ]
