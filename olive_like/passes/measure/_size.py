"""Size on disk."""

from __future__ import annotations

import os

from olive_like.artifacts import Artifact


def size_on_disk(model: Artifact) -> dict[str, tuple[float, float | None]]:
    """Bytes of all files."""
    total = sum(
        os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(model.path) for name in names
    )
    return {"bytes": (float(total), None)}
