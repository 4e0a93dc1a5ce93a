"""Search strategies, and settings that a file leaves open."""

from __future__ import annotations

from typing import Any

from olive_like.workflow.dialects.report import Report, at_key
from olive_like.workflow.dialects.tree import rename, take, without_effect
from olive_like.workflow.located import LocatedDict, Mark

_SAMPLERS = {"sequential": "grid", "exhaustive": "grid", "bayesian": "tpe"}


def is_conditional(value: Any) -> bool:
    """Whether a setting's space depends on other settings."""
    return (
        isinstance(value, LocatedDict)
        and str(value.get("type", "")).lower().startswith("conditional")
        and "support" in value
    )


def translate_strategy(tree: LocatedDict, report: Report) -> None:
    """`search_strategy`: true, false, or settings under other names."""
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
    if "type" in strategy and "sampler" not in strategy:
        strategy.move("type", strategy, "sampler")
    rename(strategy, {"search_algorithm": "sampler", "num_trials": "max_samples", "num_samples": "max_samples"})
    name = strategy.get("sampler")
    if isinstance(name, str):
        strategy["sampler"] = _SAMPLERS.get(name.lower(), name.lower())
    without_effect(
        strategy,
        {
            "execution_order": "passes share one cache, so a common beginning is computed once in any order",
            "include_pass_params": "a setting is searched where the file leaves it open",
            "output_model_num": "every model on the Pareto front is kept",
        },
        report,
        "search_strategy",
    )
    _limit(strategy, report)


def _limit(strategy: LocatedDict, report: Report) -> None:
    """`max_iter` counts proposals, `max_samples` models: there is one limit here."""
    if "max_iter" in strategy and "max_samples" in strategy:
        without_effect(strategy, {"max_iter": "max_samples is the limit"}, report, "search_strategy")
    rename(strategy, {"max_iter": "max_samples"})


def say_if_nothing_is_open(tree: LocatedDict, open_settings: bool, report: Report) -> None:
    """A search over passes whose settings are all fixed has one candidate."""
    strategy: Mark | None = at_key(tree, "search_strategy")
    if "search_strategy" in tree and not open_settings:
        report.add(
            "OL352",
            "there is nothing to search: every setting has one value, so the passes run once",
            strategy,
            "search_strategy",
            "Leave settings open, `{choice: [4, 8]}` or SEARCHABLE_VALUES; none is opened by itself.",
        )
