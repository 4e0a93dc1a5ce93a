"""Names of adapters' matrices: peft's in its files, and those that graphs have for the same."""

from __future__ import annotations

import re

_IN_FILES = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<part>A|B)(?:\.(?P<adapter>[\w-]+))?\.weight")


def parsed(name: str) -> tuple[str, str, str | None] | None:
    """Layer, `A` or `B`, and the adapter's name if the tensor's name has one; None for any other tensor."""
    match = _IN_FILES.fullmatch(name)
    return (match["layer"], match["part"], match["adapter"]) if match else None


def in_graph(layer: str, part: str) -> str:
    """What the matrix is called as an input."""
    return f"{layer}.lora_{part}.weight"
