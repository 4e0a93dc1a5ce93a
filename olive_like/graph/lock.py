"""The lock file: what a workflow was made of and what came out, and whether that still holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from olive_like.errors import LockDrift, WorkflowError
from olive_like.graph.plan import Plan, PlanNode, Status
from olive_like.graph.reasons import changes
from olive_like.redact import Redactor

VERSION = 1
_DOCUMENT = {"inputs", "data"}  # the parts of a key document that are looked into here


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
    """Write the lock as a whole or not at all, and no secret with it: such files are shared."""
    lock = Redactor().data(lock)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(lock, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Read a lock file."""
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkflowError(f"there is no lock file {path}", "`olive-like run --lock` writes one.") from None
    except OSError as error:
        raise WorkflowError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise WorkflowError(f"{path} is not a lock file: {error}", "Write it again with `run --lock`.") from None
    if not isinstance(lock, dict) or lock.get("lock") != VERSION or not _well_formed(lock.get("passes")):
        raise WorkflowError(f"{path} is not a lock file of this version", "Write it again with `run --lock`.")
    return lock


def _well_formed(passes: Any) -> bool:
    return isinstance(passes, dict) and all(
        isinstance(one, dict)
        and {"key", "output", "document"} <= one.keys()
        and isinstance(one["document"], dict)
        and one["document"].keys() >= _DOCUMENT
        for one in passes.values()
    )


def check_plan(plan: Plan, lock: Mapping[str, Any], *, part: bool = False) -> None:
    """Refuse a plan that is not what was locked, naming what drifted; `part`: not all of the workflow is planned."""
    locked: Mapping[str, Any] = lock["passes"]
    drift = [f"{name}: not in the lock" for name in plan.nodes if name not in locked]
    if not part:
        drift += [f"{name}: no longer in the workflow" for name in locked if name not in plan.nodes]
    hide = Redactor().data
    for name, node in plan.nodes.items():
        if name in locked:
            drift += [f"{name}: {what}" for what in _drift(node, locked[name], hide)]
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


def _drift(node: PlanNode, locked: Mapping[str, Any], hide: Callable[[Any], Any]) -> list[str]:
    old, new = locked["document"], node.document
    # Inputs that are yet to be made are compared by what comes out in the end.
    inputs = [was if "made_by" in now else now for was, now in zip(old["inputs"], new["inputs"], strict=False)]
    inputs += new["inputs"][len(inputs) :]
    data = {slot: old["data"].get(slot, now) if "made_by" in now else now for slot, now in new["data"].items()}
    found = changes(old, {**new, "inputs": inputs, "data": data}, hide=hide)
    if not found and node.status is not Status.WAITS and node.key != locked["key"]:
        return ["another key, by something that is kept secret"]
    return [str(reason) for reason in found]


def _refuse(drift: list[str]) -> None:
    if drift:
        raise LockDrift(
            "the locked run drifted:\n" + "\n".join(f"  {line}" for line in drift),
            "Undo the change, or lock anew with `run --lock`.",
        )
