"""Ready-made workflows: a folder each, with what they need."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FILE = "workflow.yaml"


class Ready(NamedTuple):
    """A workflow that is shipped."""

    name: str
    folder: Path
    about: str  # the comment on its first line

    @property
    def file(self) -> Path:
        return self.folder / FILE


def ready_made() -> dict[str, Ready]:
    """All shipped workflows, by name."""
    found = {}
    for file in sorted(Path(__file__).parent.glob(f"*/{FILE}")):
        with file.open(encoding="utf-8") as lines:
            about = lines.readline().lstrip("# ").strip()
        found[file.parent.name] = Ready(file.parent.name, file.parent, about)
    return found
