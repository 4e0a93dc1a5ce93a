"""Files of Olive's dialect and looser ones, brought into this engine's own form before they are checked.

`translate` changes a located tree in place. It is called for every file, so it looks at keys only and
imports nothing until it meets something to translate. Nothing is dropped in silence: a key is translated,
accepted with a note because nothing depends on it here, or named as not available.
"""

from __future__ import annotations

from olive_like.workflow.dialects.report import Report
from olive_like.workflow.dialects.signs import is_foreign
from olive_like.workflow.located import LocatedDict

__all__ = ["Report", "translate"]


def translate(tree: LocatedDict, report: Report) -> LocatedDict:
    """The tree in this engine's own form; files that are in it already stay as they are."""
    if not is_foreign(tree):
        return tree
    from olive_like.workflow.dialects.rules import apply

    return apply(tree, report)
