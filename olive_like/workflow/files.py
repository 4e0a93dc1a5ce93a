"""Whether the local files that a workflow names are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from olive_like.marks import marked_files
from olive_like.workflow.located import Loc
from olive_like.workflow.models import local_path
from olive_like.workflow.problems import Problems

if TYPE_CHECKING:
    from pydantic import BaseModel

    from olive_like.diagnostics import Diagnostic
    from olive_like.workflow.schema import Workflow


def missing_files(workflow: Workflow) -> list[Diagnostic]:
    """A diagnostic for every local file or folder that is named and not there."""
    problems = Problems(workflow.tree, workflow.file)
    _model(workflow, problems)
    for config, loc in configs(workflow):
        for file in marked_files(config):
            if not os.path.exists(file.path):
                kind = "script" if file.code else "file"
                _add(workflow, problems, "OL401", kind, file.path, _loc_of(loc, file.field))
    return problems.found


def _model(workflow: Workflow, problems: Problems) -> None:
    model = workflow.input_model
    if model is None:
        return
    base = workflow.base_dir
    places: list[tuple[str | None, Path, Loc]] = [
        (getattr(model, field, None), base, (field,)) for field in ("model_path", "adapter_path")
    ]
    folder = model.folder(base)
    for index, part in enumerate(getattr(model, "model_components", ()) if folder is not None else ()):
        places.append((part.model_path, folder or base, ("model_components", index, "model_path")))
    for name, start, field in places:
        path = local_path(name, start)
        if path is not None and not os.path.exists(path):
            _add(workflow, problems, "OL402", "model at", path, ("input_model", *field))


def _add(workflow: Workflow, problems: Problems, code: str, what: str, path: Path, loc: Loc) -> None:
    written = workflow.written(loc)
    if isinstance(written, str) and "${" in written:  # values of variables are not for showing
        problems.add(code, f"there is no {what} {written}", loc, "Look at the variables in it.")
    else:
        problems.add(code, f"there is no {what} {path}", loc, _beside(path))


def configs(workflow: Workflow) -> Iterator[tuple[BaseModel, Loc]]:
    """All settings that may name files, with where they are written."""
    if workflow.input_model is not None:
        yield workflow.input_model, ("input_model",)
    for section in ("data_configs", "evaluators"):
        for name, part in getattr(workflow, section).items():
            yield part, (section, name)
    for name, system in workflow.systems.items():
        yield system.config, ("systems", name)
    for first in workflow.passes.values():
        for entry in (first, *first.alternatives):
            yield entry.config, entry.loc
            if entry.evaluator is not None and not isinstance(entry.evaluator, str):
                yield entry.evaluator, (*entry.loc, "evaluator")


def _loc_of(loc: Loc, field: str) -> Loc:
    """`files[2]` and `data.source` as parts of a path."""
    parts: list[str | int] = []
    for part in field.replace("[", ".[").split("."):
        parts.append(int(part[1:-1]) if part.startswith("[") and part[1:-1].isdigit() else part)
    return (*loc, *parts)


def _beside(path: Path) -> str:
    """A file of nearly the same name in the same folder, or where the path breaks off."""
    from olive_like.diagnostics.nearest import nearest

    parent = path.parent
    if not parent.is_dir():
        while not parent.is_dir():
            parent = parent.parent
        return f"The path exists up to {parent}."
    near = nearest(path.name, (entry.name for entry in list(parent.iterdir())[:1000]))
    return f"Did you mean `{near}`?" if near else "Relative paths count from the folder of the workflow file."
