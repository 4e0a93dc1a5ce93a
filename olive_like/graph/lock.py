"""The lock file: what a workflow was made of and what came out, and whether that still holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from olive_like.errors import LockDrift, WorkflowError
from olive_like.graph.plan import Plan, PlanNode, Status
from olive_like.graph.reasons import Reason, changes

VERSION = 1


def lock_path(workflow_file: Path) -> Path:
    """`flow.yaml` is locked by `flow.yaml.lock`."""
    return workflow_file.with_name(workflow_file.name + ".lock")


def lock_of(
    documents: Mapping[str, Mapping[str, Any]],
    keys: Mapping[str, str],
    digests: Mapping[str, str],
    source: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The lock of a finished run: every node's key document, key and output digest."""
    return {
        "lock": VERSION,
        "input_model": dict(source) if source else None,
        "passes": {
            name: {"key": keys[name], "output": digests[name], "document": dict(documents[name])} for name in documents
        },
    }


def write(lock: Mapping[str, Any], path: Path) -> None:
    """Write the lock as a whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(lock, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Read a lock file."""
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkflowError(f"there is no lock file {path}", "`olive-like run --lock` writes one.") from None
    except ValueError as error:
        raise WorkflowError(f"{path} is not a lock file: {error}", "Write it again with `run --lock`.") from None
    if not isinstance(lock, dict) or lock.get("lock") != VERSION:
        raise WorkflowError(f"{path} is not a lock file of this version", "Write it again with `run --lock`.")
    return lock


def check_plan(plan: Plan, lock: Mapping[str, Any]) -> None:
    """Refuse a plan that is not what was locked, naming what drifted."""
    locked: Mapping[str, Any] = lock["passes"]
    drift = [f"{name}: not in the lock" for name in plan.nodes if name not in locked]
    drift += [f"{name}: no longer in the workflow" for name in locked if name not in plan.nodes]
    for name, node in plan.nodes.items():
        if name in locked:
            drift += [f"{name}: {reason}" for reason in _drift(node, locked[name])]
    _refuse(drift)


def check_outputs(digests: Mapping[str, str], lock: Mapping[str, Any]) -> None:
    """Refuse outputs other than the locked ones."""
    locked: Mapping[str, Any] = lock["passes"]
    _refuse(
        [
            f"{name}: output {digest[:12]} where the lock has {locked[name]['output'][:12]}"
            for name, digest in digests.items()
            if name in locked and locked[name]["output"] != digest
        ]
    )


def _drift(node: PlanNode, locked: Mapping[str, Any]) -> list[Reason]:
    if node.status is not Status.WAITS:
        return changes(locked["document"], node.document)
    # What is yet to be made is compared when it is there.
    old = locked["document"]
    awaited = {part: old[part] for part in ("inputs", "data") if _any_awaited(node.document[part])}
    return changes(old, {**node.document, **awaited})


def _any_awaited(inputs: Any) -> bool:
    values = inputs.values() if isinstance(inputs, Mapping) else inputs
    return any("made_by" in value for value in values)


def _refuse(drift: list[str]) -> None:
    if drift:
        raise LockDrift(
            "the locked run drifted:\n" + "\n".join(f"  {line}" for line in drift),
            "Undo the change, or lock anew with `run --lock`.",
        )
