"""How much memory a training will need, told from headers."""

from __future__ import annotations

from olive_like.artifacts import Artifact
from olive_like.passes.finetune.settings import TrainingSettings


def estimate(method: str, source: Artifact, config: TrainingSettings) -> int | None:
    """Peak bytes of the training process."""
    return None
