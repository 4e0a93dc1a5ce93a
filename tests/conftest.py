"""What all tests share. Its being here puts the repository's root on the path: `from tests.tiny_models import …`."""

from __future__ import annotations

from hypothesis import settings

# No deadline per example: on a busy machine it would measure the neighbours.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
