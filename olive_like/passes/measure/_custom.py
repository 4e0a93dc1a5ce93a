"""Metrics of the user's own, from a script of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from olive_like.artifacts import Artifact
from olive_like.data._user import function, where
from olive_like.data.config import DataConfig
from olive_like.errors import PassError
from olive_like.metrics.config import Metric
from olive_like.passes.base import Context

if TYPE_CHECKING:
    from olive_like.passes.measure._evaluate import Bench


def custom(metric: Metric, model: Artifact, bench: Bench, context: Context) -> dict[str, tuple[float, float | None]]:
    """Values from `evaluate_func(model_path, …)`, or from `metric_func(predictions, targets, …)`."""
    user = metric.user_config
    name = user.evaluate_func or user.metric_func
    assert name is not None
    if user.user_script is None:
        raise PassError(f"{metric.name}: `{name}` needs the `user_script` that it is in")
    code = function(user.user_script, name, user.script_dir)
    given = None if user.evaluate_func else _answers(bench, metric)
    try:
        if given is None:
            result = code(str(model.path), **user.evaluate_func_kwargs)
        else:
            result = code(*given, **user.metric_func_kwargs)
    except PassError:
        raise
    except Exception as error:
        raise PassError(f"{name} failed: {type(error).__name__}: {error}", where(error, user.user_script)) from error
    return {key: (value, None) for key, value in _numbers(result, metric, name).items()}


def _answers(bench: Bench, metric: Metric) -> tuple[list[Any], list[Any]]:
    """Predictions and what they should have been: of classes their numbers, else as the functions give them."""
    from olive_like.passes.measure._quality import answers

    examples = bench.examples(metric)
    data = metric.data_config
    assert isinstance(data, DataConfig)
    if examples.kind not in ("classification", "own") and not data.post_process_function:
        raise PassError(
            f"`metric_func` is given classes, and the examples are of kind {examples.kind}",
            "Use `evaluate_func`, which is given the model's folder, or a `post_process_function`.",
        )
    made, targets = answers(examples, bench.runtime_for(metric), data, bench.context)
    if examples.kind == "classification" and not data.post_process_function:
        return [int(np.argmax(row)) for row in made], [int(target) for target in targets]
    return [_plain(row) for row in made], [_plain(target) for target in targets]


def _plain(value: Any) -> Any:
    """Numbers of Python where numpy has single ones."""
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0 else value


def _numbers(result: Any, metric: Metric, name: str) -> dict[str, float]:
    if isinstance(result, (int, float, np.number)) and not isinstance(result, bool):
        names = [sub.name for sub in metric.sub_types] or [metric.name]
        if len(names) > 1:
            raise PassError(f"`{name}` gave one number for {len(names)} values", "Return a mapping: name → number.")
        return {names[0]: float(result)}
    if isinstance(result, Mapping):
        return {str(key): float(value) for key, value in result.items()}
    raise PassError(f"`{name}` gave {type(result).__name__}, not a number or a mapping of numbers")
