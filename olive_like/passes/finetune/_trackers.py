"""Trackers beside the run's own metrics/: where they write, and that their runs end with the pass."""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.finetune.settings import TrainingSettings, trackers


def chosen(config: TrainingSettings, context: Context) -> list[str]:
    """The trackers that are asked for, each of them installed."""
    names = trackers(config)
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise PassError(f"report_to: {name} is not installed", f"pip install 'olive-like[{name}]'")
    if "tensorboard" in names:
        os.environ["TENSORBOARD_LOGGING_DIR"] = folder = config.logging_dir or _folder(config)
        if context.rank == 0 and not config.logging_dir:
            context.note(f"TensorBoard's files are in {folder}")
    return names


def _folder(config: TrainingSettings) -> str:
    """Where the run was started, as the other trackers have it; a folder for each training."""
    return str(Path("tensorboard", config.run_name or time.strftime("%Y%m%d-%H%M%S")).absolute())


@contextmanager
def recording(names: Sequence[str]) -> Iterator[None]:
    """End the trackers' runs that began in here: the process may go on with another training."""
    services = [service for name, service in _SERVICES.items() if name in names]
    begun = [service for service in services if service.current() is None]
    failed = True
    try:
        yield
        failed = False
    except tuple(service.error() for service in services) as error:
        said = str(error).strip().splitlines()
        raise PassError(
            f"the tracker failed: {said[0] if said else type(error).__name__}",
            "Set it up as its library wants it, or leave `report_to` out: metrics/ in the run's folder has the same.",
        ) from error
    finally:
        for service in begun:
            if service.current() is not None:
                service.end(failed)


class _Wandb:
    def current(self) -> Any:
        return importlib.import_module("wandb").run

    def error(self) -> type[Exception]:
        found: type[Exception] = importlib.import_module("wandb.errors").Error
        return found

    def end(self, failed: bool) -> None:
        importlib.import_module("wandb").finish(exit_code=int(failed))


class _Mlflow:
    def current(self) -> Any:
        return importlib.import_module("mlflow").active_run()

    def error(self) -> type[Exception]:
        found: type[Exception] = importlib.import_module("mlflow.exceptions").MlflowException
        return found

    def end(self, failed: bool) -> None:
        importlib.import_module("mlflow").end_run("FAILED" if failed else "FINISHED")


_SERVICES: dict[str, _Wandb | _Mlflow] = {"wandb": _Wandb(), "mlflow": _Mlflow()}
