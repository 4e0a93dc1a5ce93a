"""What holds for a whole run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Limits:
    """How much may happen at once, and how long to try."""

    jobs: int | None = None  # passes side by side, all systems together
    memory: int = 0  # bytes that passes may take together, by their own estimates; 0: any
    keep: int = 0  # bytes of models that all workers together may keep loaded
    fail_fast: bool = False
    retries: int = 0  # of a pass whose worker was lost
    timeout: float | None = None  # seconds per pass
