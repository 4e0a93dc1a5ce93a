"""An example of every pass: the smallest workflow with it, beside the folder of the ready-made `quickstart`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def example(name: str) -> str | None:
    """The text of a pass's example, its first line a comment that says what it shows."""
    file = FOLDER / f"{name}.yaml"
    return file.read_text(encoding="utf-8").rstrip() if file.is_file() else None
