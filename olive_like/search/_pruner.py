"""Stopping trainings that fall behind: Hyperband over the losses that passes report on their way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import HyperbandPruner
from optuna.trial import Trial, TrialState

from olive_like.engine.events import write_json

_FILE = "pruned.json"


class Pruner:
    """Watches the passes of a search. Each training is a trial of its own, whichever candidates stand on it.

    What was stopped is remembered by its key, so that a search that goes on does not begin it again.
    """

    def __init__(self, folder: Path, least: int, factor: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._file = folder / _FILE
        self._least, self._factor = least, factor
        self._study: optuna.Study | None = None
        self._trials: dict[str, tuple[Trial, int]] = {}  # by key, with the last step that was told
        self.pruned: dict[str, str] = json.loads(self._file.read_text("utf-8")) if self._file.is_file() else {}

    def __call__(self, node: str, key: str, kind: str, values: Mapping[str, Any]) -> str | None:
        """Why the pass is to be stopped; None: it may go on."""
        if key in self.pruned:
            return self.pruned[key]
        loss, step, total = values.get("eval_loss", values.get("loss")), values.get("step"), values.get("total")
        if kind != "progress" or loss is None or step is None or not total:
            return None
        if key not in self._trials:
            self._trials[key] = self._trial(int(total)), 0
        trial, last = self._trials[key]
        if step <= last or step >= total:  # of what is done nothing is saved by stopping it
            return None
        self._trials[key] = trial, int(step)
        trial.report(float(loss), int(step))
        if not trial.should_prune():
            return None
        assert self._study is not None
        self._study.tell(trial, state=TrialState.PRUNED)
        self.pruned[key] = f"stopped at step {step} of {total}: others had a lower loss than {loss:.4g} by then"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._file, self.pruned)
        return self.pruned[key]

    def _trial(self, total: int) -> Trial:
        if self._study is None:
            pruner = HyperbandPruner(min_resource=self._least, max_resource=total, reduction_factor=self._factor)
            self._study = optuna.create_study(study_name="trainings", direction="minimize", pruner=pruner)
        return self._study.ask()
