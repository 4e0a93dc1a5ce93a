"""The story of an output: what it was made from, by what, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from olive_like import __version__
from olive_like.engine.execution import Execution, NodeState
from olive_like.graph.model import SOURCE


def provenance(execution: Execution, node: str, output: str, workflow: Mapping[str, Any]) -> dict[str, Any]:
    """What `provenance.json` says besides the artifact and its files."""
    lineage = _lineage(execution, node)
    source = execution.plan.source
    return {
        "olive_like": __version__,
        "run": execution.log.run,
        "output": output,
        "made_by": node,
        "seed": execution.seed,
        "system": execution.states[node].plan.node.system if node != SOURCE else None,
        "input_model": {"kind": source.kind, "digest": source.digest, "path": str(source.path)} if source else None,
        "passes": {name: _pass(execution.states[name]) for name in lineage},
        "workflow": workflow,
    }


def _pass(state: NodeState) -> dict[str, Any]:
    return {
        "pass": state.plan.node.pass_name,
        "inputs": list(state.plan.node.inputs),
        "system": state.plan.node.system,
        "key": state.key,
        "digest": state.digest,
        "document": state.document,  # settings, library versions, digests of all that went in
        "metrics": state.metrics,
    }


def _lineage(execution: Execution, node: str) -> list[str]:
    """The node and all that it stands on, in running order."""
    found: set[str] = set()
    stack = [node]
    while stack:
        name = stack.pop()
        if name != SOURCE and name not in found:
            found.add(name)
            stack.extend(execution.states[name].plan.node.upstream)
    return sorted(found, key=lambda name: execution.states[name].order)
