"""From what a user gives (a file, a mapping, a Workflow) to a checked Workflow and every diagnostic."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive_like.diagnostics import Diagnostic
from olive_like.workflow.check import checked_sections
from olive_like.workflow.loader import load
from olive_like.workflow.located import LocatedDict, LocatedList, Mark
from olive_like.workflow.problems import Problems, in_order
from olive_like.workflow.schema import Workflow, invalid

if TYPE_CHECKING:
    from olive_like.workflow.overrides import Override

Source = str | os.PathLike[str] | dict[str, Any] | Workflow
Change = Callable[[LocatedDict], None]


@dataclass(frozen=True)
class ReadResult:
    """`workflow` is None if a diagnostic is an error; `draft` is then what could be made out."""

    workflow: Workflow | None
    diagnostics: tuple[Diagnostic, ...]
    draft: Workflow | None = None

    def require(self) -> Workflow:
        """The workflow, or WorkflowError with all problems."""
        if self.workflow is None:
            raise invalid(self.diagnostics)
        return self.workflow


def read(
    source: Source,
    overrides: Sequence[str] = (),
    base_dir: str | os.PathLike[str] | None = None,
    change: Change | None = None,
) -> ReadResult:
    """Read and check a workflow.

    `overrides` are `passes.lora.r=8` and the like; `base_dir` is what relative paths count from
    (default: the file's folder, for anything else the current one). `change` gets the tree of a file, translated
    and not yet checked, and may change it.
    """
    diagnostics: list[Diagnostic] = []
    if isinstance(source, Workflow):
        if not overrides:
            return ReadResult(source, source.warnings, source)
        if source.tree is None:
            raise ValueError("a Workflow made of parts takes no overrides: change the parts")
        tree, file, base = located(source.tree), source.file, source.base_dir
    elif isinstance(source, dict):
        tree, file = located(source), None
        base = Path(base_dir or Path.cwd()).absolute()
    else:
        file = os.fspath(source)
        loaded = load(file)
        diagnostics = loaded.diagnostics
        if loaded.tree is None:
            return ReadResult(None, tuple(in_order(diagnostics)))
        tree = loaded.tree
        base = Path(base_dir or Path(file).parent).absolute()
    fresh = not isinstance(source, (dict, Workflow))
    return _check(tree, file, base, overrides, diagnostics, fresh, change)


def _check(
    written: LocatedDict,
    file: str | None,
    base: Path,
    overrides: Sequence[str],
    diagnostics: list[Diagnostic],
    fresh: bool,
    change: Change | None,
) -> ReadResult:
    from olive_like.workflow.builder import copied

    # What a dialect or an override changes is a copy, unless the tree is fresh from a file.
    tree: LocatedDict = copied(written) if overrides or change or not fresh else written
    set_problems = Problems(tree, file)
    applied = _overridden(tree, overrides, set_problems)
    found, values, tree = _translate_and_check(tree, file, base, change)
    as_text = {o.field for o in applied if o.could_be_text and any(_is_type_error(d, o.field) for d in found)}
    if as_text:  # `revision=1234` is text because the schema says so
        tree = copied(written)
        applied = _overridden(tree, overrides, Problems(tree, file), as_text)
        found, values, tree = _translate_and_check(tree, file, base, change)
    everything = in_order([*diagnostics, *set_problems.found, *(_said_where(d, applied) for d in found)])
    draft = Workflow.from_values(values, tree, file, base, tuple(everything))
    ok = not any(d.severity.value == "error" for d in everything)
    return ReadResult(draft if ok else None, tuple(everything), draft)


def _overridden(
    tree: LocatedDict, overrides: Sequence[str], problems: Problems, as_text: Collection[str] = ()
) -> list[Override]:
    if not overrides:
        return []
    from olive_like.workflow.overrides import apply_overrides

    return apply_overrides(tree, overrides, problems, as_text)


def _translate_and_check(
    tree: LocatedDict, file: str | None, base: Path, change: Change | None
) -> tuple[list[Diagnostic], dict[str, Any], LocatedDict]:
    from olive_like.workflow.dialects import translate
    from olive_like.workflow.dialects.report import Report

    report = Report(file)
    tree = translate(tree, report)
    if change is not None:
        change(tree)
    problems = Problems(tree, file)
    values = checked_sections(tree, problems, base)
    return [*report.diagnostics, *problems.found], values, tree


def _is_type_error(diagnostic: Diagnostic, field: str) -> bool:
    return diagnostic.field == field and diagnostic.code in ("OL103", "OL104")


def _said_where(diagnostic: Diagnostic, applied: Sequence[Override]) -> Diagnostic:
    """Name the command-line option where the value at fault came from it."""
    for override in applied:
        if diagnostic.field == override.field:
            hint = f"It was set by `--set {override.text}`." + (f" {diagnostic.hint}" if diagnostic.hint else "")
            return replace(diagnostic, hint=hint)
    return diagnostic


def located(value: Any, mark: Mark | None = None) -> Any:
    """Plain data as a located tree without places."""
    if isinstance(value, (LocatedDict, LocatedList)):
        return value
    if isinstance(value, dict):
        return LocatedDict({str(key): located(item) for key, item in value.items()}, mark)
    if isinstance(value, (list, tuple)):
        return LocatedList([located(item) for item in value], mark)
    return value
