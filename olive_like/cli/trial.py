"""`--test`: a workflow cut down to be tried in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from olive_like.cli.cache_root import cache_root
from olive_like.cli.test_model import tiny

if TYPE_CHECKING:
    from olive_like.workflow.schema import Workflow


def cut_down(file: str, overrides: Sequence[str], cache_dir: str | None) -> tuple[Workflow, list[str]]:
    """The workflow with small things in the place of large ones, and which these are."""
    from olive_like.workflow.read import read
    from olive_like.workflow.trial.rewrite import Trial

    trial = Trial(
        lambda name, task: tiny(name, task, cache_dir),
        cache_root(cache_dir) / "test-models" / "files",
        Path(file).absolute().parent,
    )
    return read(file, overrides, change=trial).require(), trial.said


def folder(named: str | None) -> str | None:
    """Where results of the trial go, where those of the workflow itself go to the folder that is named."""
    from olive_like.workflow.trial.rewrite import trial_folder

    return trial_folder(named) if named else named
