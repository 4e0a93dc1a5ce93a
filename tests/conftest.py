"""What all tests share. Its being here puts the repository's root on the path: `from tests.tiny_models import …`."""

from __future__ import annotations
