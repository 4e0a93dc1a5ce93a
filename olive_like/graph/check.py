"""Everything that can be said about a workflow without running it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from olive_like.graph.build import build
from olive_like.graph.model import SOURCE
from olive_like.workflow.problems import Problems, in_order

if TYPE_CHECKING:
    from olive_like.diagnostics import Diagnostic
    from olive_like.workflow.read import ReadResult
    from olive_like.workflow.schema import Workflow


def diagnose(result: ReadResult, *, files: bool = True) -> list[Diagnostic]:
    """The problems of reading a workflow, of its graph and (with `files`) of the files that it names.

    The graph is looked at even where settings are wrong, so that one call names everything.
    """
    found = list(result.diagnostics)
    draft = result.draft
    if draft is None:
        return in_order(found)
    problems = Problems(draft.tree, draft.file)
    build(draft, problems)
    if any(d.code in ("OL201", "OL208") for d in problems.found):
        build(_without_unknown_inputs(draft), problems)  # what else is wrong with the graph
    found.extend(problems.found)
    if files:
        from olive_like.workflow.files import missing_files

        found.extend(missing_files(draft))
    return in_order(found)


def _without_unknown_inputs(workflow: Workflow) -> Workflow:
    known = {*workflow.passes, *([SOURCE] if workflow.input_model else [])}
    passes = {
        name: replace(entry, inputs=tuple(i for i in entry.inputs if i in known)) if entry.inputs else entry
        for name, entry in workflow.passes.items()
    }
    return workflow.with_passes(passes)
