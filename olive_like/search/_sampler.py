"""Which points to try: optuna's samplers behind ask and tell."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import Trial, TrialState

from olive_like.search.space import Dimension, Point, identity

_SAMPLERS = {"random": RandomSampler, "tpe": TPESampler, "nsga2": NSGAIISampler}
_NAME = "search"
_TRIES = 50  # draws in a row that bring nothing new, after which a space counts as exhausted


class Sampler:
    """A study in memory: a search that goes on draws the same trials from its seed, and finds them in the store."""

    def __init__(self, kind: str, seed: int, dims: list[Dimension], directions: list[str]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        sampler: BaseSampler = _SAMPLERS[kind](seed=seed)
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, study_name=_NAME, sampler=sampler, directions=directions
        )
        self._dims = dims
        self._seen: dict[str, tuple[list[float] | None]] = {}
        self._open: dict[str, Trial] = {}

    def ask(self, count: int) -> list[Point]:
        """Up to so many points that were not asked before; fewer where the space is exhausted."""
        points: list[Point] = []
        misses = 0
        while len(points) < count and misses < _TRIES:
            trial = self._study.ask()
            point: Point = {}
            for dimension in self._dims:
                if dimension.active(point):
                    point[dimension.name] = _suggest(trial, dimension)
            key = identity(point)
            if key in self._open:
                self._study.tell(trial, state=TrialState.FAIL)
                misses += 1
            elif key in self._seen:
                self._tell(trial, self._seen[key][0])
                misses += 1
            else:
                self._open[key] = trial
                points.append(point)
                misses = 0
        return points

    def tell(self, point: Point, values: list[float] | None) -> None:
        """What a point gave; None: it failed, and is not proposed again."""
        key = identity(point)
        self._seen[key] = (values,)
        self._tell(self._open.pop(key), values)

    def save(self, file: Path) -> None:
        """Write the study where optuna's own tools can look at it."""
        file.unlink(missing_ok=True)
        optuna.copy_study(
            from_study_name=_NAME, from_storage=self._storage, to_storage=f"sqlite:///{file}", to_study_name=_NAME
        )

    def _tell(self, trial: Trial, values: list[float] | None) -> None:
        if values is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, values)


def _suggest(trial: Trial, dimension: Dimension) -> Any:
    space, name = dimension.space, dimension.name
    if space.kind == "choice":
        # optuna keeps only plain choices: the place in the list stands for the value.
        return space.values[trial.suggest_categorical(name, list(range(len(space.values))))]
    if space.kind == "int":
        return trial.suggest_int(name, int(space.low), int(space.high), step=int(space.step or 1), log=space.log)
    return trial.suggest_float(name, space.low, space.high, step=space.step, log=space.log)
