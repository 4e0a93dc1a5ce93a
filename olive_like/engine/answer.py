"""How the work on a pass ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from olive_like.errors import OliveLikeError


@dataclass(frozen=True)
class Failure:
    """Why a pass has no result."""

    message: str
    hint: str = ""
    traceback: str = ""
    type: str = ""
    lost: bool = False  # the worker is gone: another one may succeed


class Stop(OliveLikeError):
    """Raised by who watches a pass: it is not worth going on."""


@dataclass(frozen=True)
class Success:
    """What a pass made: sealed by the worker, or small and yet to be sealed."""

    resources: Mapping[str, Any]
    manifest: Mapping[str, Any] | None = None
    artifact: Mapping[str, Any] | None = None
    kept: bool = False  # the worker keeps something loaded that goes by the result's digest
