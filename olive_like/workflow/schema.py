"""A whole workflow: what a file says, checked, with every name that it uses resolved to a class."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from olive_like.diagnostics import Diagnostic
from olive_like.errors import WorkflowError
from olive_like.workflow.environment import Expands
from olive_like.workflow.located import Loc, Mark, find_mark, index_of

if TYPE_CHECKING:
    from olive_like.data.config import DataConfig
    from olive_like.metrics.config import Evaluator
    from olive_like.workflow.entries import PassEntry, SystemEntry
    from olive_like.workflow.models import InputModel
    from olive_like.workflow.search import SearchStrategy
else:  # modules that only a workflow which uses them pays for
    DataConfig = Evaluator = InputModel = PassEntry = SystemEntry = SearchStrategy = Any

DEFAULT_CACHE = "~/.cache/olive-like"

Expanded = Annotated[str, Expands()]


class Settings(BaseModel):
    """The single values at the top of a workflow."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), defer_build=True)

    evaluator: str | None = Field(None, description="Evaluator of every pass that names none.")
    evaluate_input_model: bool = Field(False, description="Measure the input model too.")
    system: str | None = Field(None, description="System of every pass that names none; default: this machine.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of everything that is left to chance.")
    cache_dir: Expanded | None = Field(None, description="The cache's folder; default: one of the user's.")
    output_dir: Expanded | None = Field(None, description="Where the outputs are put.")
    layout: Literal["folders", "olive"] = Field(
        "folders",
        description="Where in `output_dir` outputs are put: each in a folder of its name, or, where there is one "
        "alone, `olive` puts it into `output_dir` itself.",
    )


class Workflow(Settings):
    """A workflow. Built from plain mappings it is checked as a file is, and raises WorkflowError."""

    input_model: InputModel | None = Field(None, description="The model that the first pass gets.")
    data_configs: dict[str, DataConfig] = Field({}, description="Data sets, by the names that passes use.")
    systems: dict[str, SystemEntry] = Field({}, description="Where passes run, by name.")
    evaluators: dict[str, Evaluator] = Field({}, description="What is measured of a model, by name.")
    passes: dict[str, PassEntry] = Field({}, description="The passes, by name, in the order of an ordinary chain.")
    search_strategy: SearchStrategy | None = Field(None, description="How settings that are left open are tried.")
    outputs: dict[str, str] | None = Field(
        None, description="Output name → pass; default: every pass whose result no other takes."
    )

    _tree: Any = PrivateAttr(None)
    _file: str | None = PrivateAttr(None)
    _base_dir: Path = PrivateAttr(default_factory=Path.cwd)
    _warnings: tuple[Diagnostic, ...] = PrivateAttr(())

    def __init__(self, **sections: Any) -> None:
        from olive_like.workflow.check import checked_sections
        from olive_like.workflow.problems import Problems

        problems = Problems(sections)
        values = checked_sections(sections, problems, Path.cwd())
        if problems.errors:
            raise invalid(problems.found)
        super().__init__(**values)
        self._tree = sections
        self._warnings = tuple(problems.found)

    @classmethod
    def from_values(
        cls, values: dict[str, Any], tree: Any, file: str | None, base_dir: Path, warnings: tuple[Diagnostic, ...] = ()
    ) -> Workflow:
        """A workflow of parts that have been checked."""
        workflow = cls.model_construct(**values)
        workflow._tree, workflow._file, workflow._base_dir, workflow._warnings = tree, file, base_dir, warnings
        return workflow

    @property
    def tree(self) -> Any:
        """What the workflow was read from, with positions if that was a file."""
        return self._tree

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What was noticed and is no error."""
        return self._warnings

    @property
    def file(self) -> str | None:
        """The file that the workflow was read from."""
        return self._file

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths count from."""
        return self._base_dir

    @property
    def name(self) -> str:
        """What runs of the workflow are filed under: the file's name without its ending."""
        return Path(self._file).stem if self._file else "workflow"

    def resolve(self, path: str) -> Path:
        """A path of the workflow, absolute."""
        return self._base_dir / os.path.expanduser(path)

    def with_passes(self, passes: dict[str, PassEntry]) -> Workflow:
        """The same workflow with other passes."""
        return self.model_copy(update={"passes": passes})

    def mark(self, loc: Sequence[str | int], *, key: bool = False) -> Mark | None:
        """Where something is written."""
        return find_mark(self._tree, loc, key=key)

    def written(self, loc: Sequence[str | int]) -> Any:
        """What is written at a place, before environment variables were expanded; None if nothing is."""
        value = self._tree
        for part in loc:
            if isinstance(value, list):
                index = index_of(value, part)
                value = None if index is None else value[index]
            else:
                value = value.get(part) if isinstance(value, dict) else None
        return value

    def problem(self, code: str, message: str, loc: Loc, hint: str = "", *, key: bool = True) -> Diagnostic:
        """A diagnostic at the place where something is written."""
        from olive_like.workflow.problems import Problems

        problems = Problems(self._tree, self._file)
        problems.add(code, message, loc, hint, key=key)
        return problems.found[0]


def invalid(diagnostics: Sequence[Diagnostic]) -> WorkflowError:
    """The exception for a workflow with these problems."""
    errors = [d for d in diagnostics if d.severity.value == "error"]
    first = errors[0].message if errors else "the workflow cannot be used"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    place = f"{errors[0].field}: " if errors and errors[0].field else ""
    return WorkflowError(place + first + more, errors[0].hint if errors else "", diagnostics)


def top_level_keys() -> Mapping[str, Any]:
    """The keys of a workflow and their fields."""
    return Workflow.model_fields
