"""What is known of a model before it is exported and is still of use afterwards."""

from __future__ import annotations

from typing import Any

from olive_like.artifacts import Adapter, Artifact

_ATTRIBUTES = ("split_assignments",)


def carried(source: Artifact) -> dict[str, Any]:
    """Attributes that go over to the ONNX model."""
    base = source.base if isinstance(source, Adapter) else source
    return {name: base.attributes[name] for name in _ATTRIBUTES if name in base.attributes}
