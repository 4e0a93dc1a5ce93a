"""What all tests share. Its being here puts the repository's root on the path: `from tests.tiny_models import …`."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Two processes of tests share two cores: each computes on one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test may ask a hub, nor find or leave anything in the user's own cache.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OLIVE_LIKE_CACHE", os.path.join(tempfile.gettempdir(), f"olive-like-tests-{os.getuid()}"))

# Who starts the suite in the background of a shell, or with nohup, has it ignore interrupts or the terminal's end, and
# so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No deadline per example: on a busy machine it would measure the neighbours.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all examples and ready-made workflows: they share the export of the same model."""
    return tmp_path_factory.mktemp("cache")
