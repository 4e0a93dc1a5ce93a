"""Search: strategies, and settings that are left open."""

from __future__ import annotations

from typing import Any

from olive_like.workflow.dialects.report import Report, at_key, at_value
from olive_like.workflow.dialects.tree import rename, take, without_effect
from olive_like.workflow.located import LocatedDict, LocatedList, Mark

_SAMPLERS = {"sequential": "grid", "exhaustive": "grid", "random": "random", "tpe": "tpe", "bayesian": "tpe"}


def range_or_choice(space: LocatedDict) -> LocatedDict | None:
    """`{type: float, low, high, log}` and its like in the form `{float: [low, high], log: true}`."""
    kind = str(space.get("type", "")).lower()
    low, high = space.get("low", space.get("min")), space.get("high", space.get("max"))
    mark = space.mark
    result = LocatedDict(mark=mark)
    if kind in ("float", "int", "uniform", "loguniform") and low is not None and high is not None:
        result.put("int" if kind == "int" else "float", LocatedList([low, high], mark), mark, mark)
        if space.get("log") or kind == "loguniform":
            result.put("log", True, mark, mark)
        if space.get("step") is not None:
            result.put("step", space["step"], mark, mark)
        return result
    if kind == "boolean":
        result.put("choice", LocatedList([True, False], mark), mark, mark)
        return result
    for key in ("support", "values", "choices"):
        if kind in ("choice", "categorical") and isinstance(space.get(key), list):
            space.move(key, result, "choice")
            return result
    return None


def is_space(value: Any) -> bool:
    """Whether a setting's value is a space in one of the forms with a type."""
    return (
        isinstance(value, LocatedDict)
        and isinstance(value.get("type"), str)
        and (
            value["type"].lower() in ("categorical", "boolean", "conditional", "choice", "uniform", "loguniform")
            or (value["type"].lower() in ("float", "int") and bool({"low", "min"} & set(value)))
        )
    )


def translate_space(holder: LocatedDict, key: str, report: Report, field: str) -> None:
    """Bring one setting that is left open into the form used here."""
    space = holder[key]
    result = range_or_choice(space)
    if result is not None:
        holder.put(key, result, holder.keys_at.get(key), space.mark)
        return
    report.add(
        "OL307", f"search space not available: {space.get('type')}", at_value(space, "type"), field,
        "Write {choice: [...]}, {int: [low, high]} or {float: [low, high]}.",
    )  # fmt: skip
    take(holder, key)


def translate_strategy(tree: LocatedDict, report: Report) -> None:
    """`search_strategy`: true, false, or Olive's and the looser settings."""
    if "search_strategy" not in tree:
        return
    strategy = tree["search_strategy"]
    mark = at_key(tree, "search_strategy")
    if strategy is False or strategy is None:
        take(tree, "search_strategy")
        return
    if strategy is True:
        tree.put("search_strategy", LocatedDict(mark=mark), mark, mark)
        return
    if not isinstance(strategy, LocatedDict):
        return
    field = "search_strategy"
    if "type" in strategy and "sampler" not in strategy:
        strategy.move("type", strategy, "sampler")
    rename(strategy, {"search_algorithm": "sampler", "num_trials": "max_samples", "num_samples": "max_samples"})
    _sampler(strategy)
    without_effect(
        strategy,
        {
            "execution_order": "passes share one cache, so a common beginning is computed once in any order",
            "include_pass_params": "a setting is searched where the file leaves it open",
            "output_model_num": "every model on the Pareto front is kept",
        },
        report,
        field,
    )
    _limit(strategy, report, mark)


def _sampler(strategy: LocatedDict) -> None:
    name = strategy.get("sampler")
    if isinstance(name, str) and name.lower() in _SAMPLERS:
        strategy["sampler"] = _SAMPLERS[name.lower()]


def _limit(strategy: LocatedDict, report: Report, mark: Mark | None) -> None:
    """`max_iter` counts proposals, `max_samples` models: there is one limit here."""
    if "max_iter" not in strategy:
        return
    if "max_samples" in strategy:
        without_effect(strategy, {"max_iter": "max_samples is the limit"}, report, "search_strategy")
    else:
        strategy.move("max_iter", strategy, "max_samples")
