"""The parts of a validated workflow that stand under names of the user's choice."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from olive_like.workflow.located import Loc

if TYPE_CHECKING:
    from olive_like.metrics.config import Evaluator
    from olive_like.passes.base import Pass, PassConfig
    from olive_like.systems.base import System, SystemConfig
    from olive_like.workflow.spaces import Space


@dataclass(frozen=True)
class SystemEntry:
    """A named system with its settings."""

    name: str
    type: str  # the registered name
    cls: builtins.type[System]
    config: SystemConfig


@dataclass(frozen=True)
class PassEntry:
    """A named pass with its settings.

    Where settings are left open, `config` has the first point of every space, and `spaces` says by path what
    they may be; `with_settings` gives the entry at another point.
    """

    name: str
    type: str  # the registered name
    cls: builtins.type[Pass]
    config: PassConfig
    settings: Mapping[str, Any]  # as written, with first points in place of spaces
    inputs: tuple[str, ...] | None = None  # None: it follows the pass above it
    input_locs: tuple[Loc, ...] = ()  # where each of them is written
    system: str | None = None
    evaluator: str | Evaluator | None = None
    spaces: Mapping[Loc, Space] = field(default_factory=dict)
    alternatives: tuple[PassEntry, ...] = ()  # further entries of a list under the same name
    skips: tuple[int, ...] = ()  # places in that list that stand for leaving the pass out
    loc: Loc = ()  # where it is written
    broken: bool = False  # something about it is wrong: it only keeps its place in a draft
