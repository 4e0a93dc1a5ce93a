"""Metrics of the user's own, from a script of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from olive_like.artifacts import Artifact
from olive_like.data._user import function, where
from olive_like.errors import PassError
from olive_like.metrics.config import Metric
from olive_like.passes.base import Context

if TYPE_CHECKING:
    from olive_like.passes.measure._evaluate import _Bench


def custom(metric: Metric, model: Artifact, bench: _Bench, context: Context) -> dict[str, tuple[float, float | None]]:
    """Values from `evaluate_func(model_path, …)`, or from `metric_func(predictions, targets, …)`."""
    user = metric.user_config
    name = user.evaluate_func or user.metric_func
    assert name is not None
    if user.user_script is None:
        raise PassError(f"{metric.name}: `{name}` needs the `user_script` that it is in")
    code = function(user.user_script, name, user.script_dir)
    try:
        if user.evaluate_func:
            result = code(str(model.path), **user.evaluate_func_kwargs)
        else:
            predictions, targets = _answers(bench, metric)
            result = code(predictions, targets, **user.metric_func_kwargs)
    except PassError:
        raise
    except Exception as error:
        raise PassError(f"{name} failed: {type(error).__name__}: {error}", where(error, user.user_script)) from error
    return {key: (value, None) for key, value in _numbers(result, metric, name).items()}


def _answers(bench: _Bench, metric: Metric) -> tuple[list[Any], list[Any]]:
    """Predicted classes and true ones."""
    examples = bench.examples(metric)
    if examples.encoded.kind != "classification":
        raise PassError(
            f"`metric_func` is given classes, and the examples are of kind {examples.encoded.kind}",
            "Use `evaluate_func`, which is given the model's folder.",
        )
    predictions: list[Any] = []
    targets: list[Any] = []
    for batch, records in examples.batches():
        predictions += bench.runtime.logits(batch).argmax(-1).tolist()
        targets += [record["label"] for record in records]
    return predictions, targets


def _numbers(result: Any, metric: Metric, name: str) -> dict[str, float]:
    if isinstance(result, (int, float)) and not isinstance(result, bool):
        names = [sub.name for sub in metric.sub_types] or [metric.name]
        if len(names) > 1:
            raise PassError(f"`{name}` gave one number for {len(names)} values", "Return a mapping: name → number.")
        return {names[0]: float(result)}
    if isinstance(result, Mapping):
        return {str(key): float(value) for key, value in result.items()}
    raise PassError(f"`{name}` gave {type(result).__name__}, not a number or a mapping of numbers")
