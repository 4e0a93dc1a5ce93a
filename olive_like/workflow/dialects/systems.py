"""Where things run: `systems`, `host` and `target`."""

from __future__ import annotations
