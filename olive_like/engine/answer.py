"""How the work on a pass ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """Why a pass has no result."""

    message: str
    hint: str = ""
    traceback: str = ""
    type: str = ""
    lost: bool = False  # the worker is gone: another one may succeed


@dataclass(frozen=True)
class Success:
    manifest: Mapping[str, Any]
    resources: Mapping[str, Any]
