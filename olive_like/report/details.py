"""Facts about a run's artifacts: their files, and of ONNX models the operators and the bytes by type."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.artifacts import Artifact, OnnxModel
from olive_like.graph.model import SOURCE
from olive_like.report.data import curves_of
from olive_like.store import Store

if TYPE_CHECKING:
    from olive_like.engine.execution import Execution

FILE = "details.json"  # what was found out while the artifacts were at hand
_MOST_FILES = 200  # listed of one artifact
_LARGEST = 256 << 20  # bytes of a graph's file that is read for a picture


def of_execution(execution: Execution) -> dict[str, Any]:
    """For the passes of a run that has just ended: files of all, what is in the ONNX models that were made."""
    runs = execution.log.folder.parent
    found = {
        name: _files(state.record.files) | {"curves": curves_of(runs, state.record.run_id, state.record.node)}
        for name, state in execution.states.items()
        if state.record is not None
    }
    for name, state in execution.states.items():
        if state.plan.node.kind is OnnxModel and state.good and execution.verify(name):
            assert isinstance(state.artifact, OnnxModel)
            found[name] = {**_files_of(state.artifact), **_statistics(state.artifact)}
        elif state.artifact is not None and name not in found:
            found[name] = _files_of(state.artifact)
    source = execution.plan.source
    if isinstance(source, OnnxModel) and any("ops" in facts for facts in found.values()):
        found[SOURCE] = {**_files_of(source), **_statistics(source)}
    return found


def of_folder(folder: Path, store: Store) -> dict[str, Any]:
    """For every pass of an earlier run: what was found then, and what the store still has."""
    file = folder / FILE
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for one in run.get("passes", []):
        record = store.peek(one["key"]) if one.get("key") else None
        if record is None or "ops" in known.get(one["name"], {}):
            continue
        facts = _files(record.files) | {"curves": curves_of(folder.parent, record.run_id, record.node)}
        if record.kind == OnnxModel.kind and isinstance(artifact := store.fetch(one["key"]), OnnxModel):
            facts |= _statistics(artifact)
        known[one["name"]] = facts
    return known


def _files(files: Iterable[Any]) -> dict[str, Any]:
    return {"files": [[file.path, file.size] for file in files][:_MOST_FILES]}


def _files_of(artifact: Artifact) -> dict[str, Any]:
    if artifact.path.is_file():
        return {"files": [[artifact.path.name, artifact.path.stat().st_size]]}
    files = sorted(file for file in artifact.path.rglob("*") if file.is_file())
    return {"files": [[f.relative_to(artifact.path).as_posix(), f.stat().st_size] for f in files][:_MOST_FILES]}


def _statistics(model: OnnxModel) -> Mapping[str, Any]:
    """Operators and bytes by type, where the graphs are small enough to be looked at in passing."""
    graphs = [model.path] if model.path.is_file() else list(model.path.rglob("*.onnx"))
    if sum(path.stat().st_size for path in graphs) > _LARGEST:
        return {}
    from olive_like.passes._onnx_stats import statistics

    return statistics(model)
