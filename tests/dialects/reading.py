"""Reading text as a workflow and translating it, as every test here does."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import Any

from olive_like.diagnostics import Diagnostic
from olive_like.workflow.builder import copied
from olive_like.workflow.dialects import Report, translate
from olive_like.workflow.dialects.rules import apply
from olive_like.workflow.dialects.signs import is_foreign
from olive_like.workflow.loader import loads
from olive_like.workflow.located import plain

Read = Callable[[str], tuple[Any, list[Diagnostic]]]


def read_text(text: str) -> tuple[Any, list[Diagnostic]]:
    """Text of a workflow -> what it is translated to, and what was said."""
    loaded = loads(dedent(text), "w.yaml")
    assert loaded.tree is not None, loaded.diagnostics
    report = Report("w.yaml")
    if not is_foreign(loaded.tree):  # then the rules themselves would do nothing either
        untouched = copied(loaded.tree)
        assert plain(apply(untouched, report)) == plain(loaded.tree)
        assert not report.diagnostics
    tree = translate(loaded.tree, report)
    return plain(tree), report.diagnostics


def codes(diagnostics: list[Diagnostic]) -> list[str]:
    """What was said, shortly."""
    return [d.code for d in diagnostics]
