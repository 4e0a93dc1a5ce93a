"""The order in which the parts of a file are translated."""

from __future__ import annotations

from olive_like.workflow.dialects import toplevel
from olive_like.workflow.dialects.builds import translate_builds
from olive_like.workflow.dialects.data import is_nested, translate_data
from olive_like.workflow.dialects.evaluators import translate_evaluator, translate_evaluators
from olive_like.workflow.dialects.guide import translate_loose
from olive_like.workflow.dialects.model import translate_model
from olive_like.workflow.dialects.passes import each_pass, keep_adapters_apart, leaves_open, translate_pass
from olive_like.workflow.dialects.report import Report
from olive_like.workflow.dialects.search import say_if_nothing_is_open, translate_strategy
from olive_like.workflow.dialects.systems import translate_systems
from olive_like.workflow.dialects.tree import as_mapping, entries
from olive_like.workflow.located import LocatedDict


def apply(tree: LocatedDict, report: Report) -> LocatedDict:
    """Translate a whole file in place."""
    foreign = bool(toplevel.SIGNS & tree.keys())
    toplevel.translate_engine(tree, report)
    toplevel.translate_settings(tree, report)
    for section in ("systems", "evaluators"):
        as_mapping(tree, section)
    translate_model(tree, report)
    for name, config in entries(tree.get("data_configs")):
        foreign = foreign or is_nested(config)
        translate_data(config, report, f"data_configs.{name}")
    if "builds" in tree:
        translate_builds(tree, report)
    foreign = translate_systems(tree, report) or foreign
    metrics = translate_evaluators(tree, report)
    translate_loose(tree, report)
    for field, step in each_pass(tree):
        translate_pass(step, report, field)
        if isinstance(step.get("evaluator"), LocatedDict):
            translate_evaluator(step["evaluator"], metrics, report, f"{field}.evaluator")
    if foreign:
        keep_adapters_apart(tree, report)
    translate_strategy(tree, report)
    if "search_strategy" in tree and "passes" in tree:
        say_if_nothing_is_open(tree, leaves_open(tree), report)
    if foreign and "layout" not in tree:
        tree["layout"] = "olive"
    return tree
