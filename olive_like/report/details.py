"""Facts about a run's artifacts: their files, and of ONNX models the operators and the bytes by type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from olive_like.artifacts import OnnxModel
from olive_like.store import Store


def details(folder: Path, store: Store) -> dict[str, Any]:
    """For every pass of a run whose artifact is in the store."""
    found: dict[str, Any] = {}
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for one in run.get("passes", []):
        record = store.peek(one["key"]) if one.get("key") else None
        if record is None:
            continue
        found[one["name"]] = {"files": [[file.path, file.size] for file in record.files]}
        if record.kind == "onnx_model" and (artifact := store.fetch(one["key"])) is not None:
            from olive_like.passes._onnx_stats import statistics

            assert isinstance(artifact, OnnxModel)
            found[one["name"]] |= statistics(artifact)
    return found
