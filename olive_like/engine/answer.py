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
    """What a pass made: sealed by the worker, or small and yet to be sealed."""

    resources: Mapping[str, Any]
    manifest: Mapping[str, Any] | None = None
    artifact: Mapping[str, Any] | None = None
    kept: bool = False  # the worker keeps something loaded that goes by the result's digest
