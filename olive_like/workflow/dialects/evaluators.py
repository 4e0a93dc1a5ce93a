"""Evaluators and metrics, in the ways that they are written."""

from __future__ import annotations

from olive_like.diagnostics.nearest import did_you_mean
from olive_like.metrics.catalog import QUALITY, SPEED, shorthand
from olive_like.workflow.builder import copied
from olive_like.workflow.dialects.data import is_nested, translate_data
from olive_like.workflow.dialects.passes import each_pass
from olive_like.workflow.dialects.report import Report, at_key, at_value
from olive_like.workflow.dialects.tree import entries, lift, take, without_effect
from olive_like.workflow.located import LocatedDict, LocatedList, Mark

_OWN_TYPES = ("oliveevaluator",)
_HARNESS = {"lmevaluator": "lm_eval", "onnxlmevaluator": "lm_eval", "mtebevaluator": "mteb"}
_OF_HARNESS = {
    "batch_size": "what is measured does not depend on it",
    "max_length": "the model's own limit holds",
    "device": "the pass's system says it",
    "ep": "the pass's system says it",
    "ep_options": "the pass's system says it",
    "model_class": "the kind of the model says it",
    "provider_options": "the pass's system says it",
    "model_args": "the model is opened as everywhere",
    "sample_log_num": "what is measured does not depend on it",
}
VALUES = {"accuracy": "accuracy_score", "f1": "f1_score", "roc_auc": "auroc"}  # the hub's names
UNMEASURED = ("relaxed_accuracy", "word_sort_ratio")
_NO_EFFECT = {
    "sample_log_num": "what is measured does not depend on it",
    "sample_log_dir": "what is measured does not depend on it",
}


def translate_evaluators(tree: LocatedDict, report: Report) -> LocatedDict:
    """Bring evaluators into their own form; returns the metrics of the top level, by name."""
    _evaluator_in_place(tree)
    shared = _shared_metrics(tree, report)
    for name, evaluator in entries(tree.get("evaluators")):
        translate_evaluator(evaluator, shared, report, f"evaluators.{name}")
    _without_passes(tree, report)
    return shared


def translate_evaluator(evaluator: LocatedDict, shared: LocatedDict, report: Report, field: str) -> None:
    """Bring one evaluator into its own form, in place."""
    kind = evaluator.get("type")
    if str(kind).lower() in _HARNESS:
        _of_harness(evaluator, _HARNESS[str(kind).lower()], report, field)
        return
    if kind is not None and str(kind).lower() not in _OWN_TYPES:
        report.add(
            "OL306",
            f"evaluator not available: {kind}",
            at_value(evaluator, "type"),
            f"{field}.type",
            "Write what to measure under `metrics:`.",
        )
        for key in list(evaluator):
            take(evaluator, key)
        return
    take(evaluator, "type")
    metrics = evaluator.get("metrics")
    if isinstance(metrics, LocatedList):
        for index, metric in enumerate(metrics):
            where = f"{field}.metrics[{index}]"
            mark = metrics.items_at[index] if index < len(metrics.items_at) else metrics.mark
            if isinstance(metric, str):
                _by_name(metrics, index, metric, shared, mark, report, where)
            if isinstance(metrics[index], LocatedDict):
                _metric(metrics[index], report, where)


def _of_harness(evaluator: LocatedDict, name: str, report: Report, field: str) -> None:
    """Tasks of lm-evaluation-harness, or of MTEB, are a metric here, which may stand beside others."""
    mark = at_key(evaluator, "type")
    take(evaluator, "type")
    without_effect(evaluator, _OF_HARNESS, report, field)
    metric = LocatedDict({"name": name, "type": name}, mark)
    for key in ("tasks", "limit", "num_fewshot"):
        if key in evaluator:
            evaluator.move(key, metric)
    settings = LocatedDict(mark=mark)
    for key in ("apply_chat_template", "fewshot_as_multiturn", "bootstrap_iters"):
        if key in evaluator:
            evaluator.move(key, settings)
    if settings:
        metric.put("task_settings", settings, mark, mark)
    metrics = LocatedList(mark=mark)
    metrics.add(metric, mark)
    evaluator.put("metrics", metrics, mark, mark)


def _by_name(
    metrics: LocatedList, index: int, name: str, shared: LocatedDict, mark: Mark | None, report: Report, field: str
) -> None:
    """Put a metric of the top level where its name stands."""
    if name in shared:
        metrics[index] = copied(shared[name])
        return
    if shorthand(name) is not None:
        return  # the schema knows what `perplexity` alone means
    near = did_you_mean(name, [*shared, *QUALITY, *SPEED])
    report.add("OL306", f"there is no metric {name!r}", mark, field, near or "Write it in place, or under `metrics:`.")
    metrics[index] = LocatedDict({"name": name, "type": "custom"}, mark)


def _metric(metric: LocatedDict, report: Report, field: str) -> None:
    lift(metric, "config", report, field)
    without_effect(metric, _NO_EFFECT, report, field)
    _values(metric, report, f"{field}.sub_types")
    data = metric.get("data_config")
    if isinstance(data, LocatedDict) and is_nested(data):
        translate_data(data, report, f"{field}.data_config")


def _values(metric: LocatedDict, report: Report, field: str) -> None:
    """Values under their names here; those that cannot be measured are named and left out."""
    values = metric.get("sub_types")
    if not isinstance(values, LocatedList):
        return
    kept = LocatedList(mark=values.mark)
    for index, value in enumerate(values):
        mark = values.items_at[index] if index < len(values.items_at) else values.mark
        if isinstance(value, str):
            value = LocatedDict({"name": value}, mark)
        name = value.get("name") if isinstance(value, LocatedDict) else None
        if metric.get("type") == "accuracy" and isinstance(name, str):
            if name in VALUES:
                value["name"] = VALUES[name]
            elif name in UNMEASURED:
                report.add("OL306", f"metric not available: {name}", at_value(value, "name"), f"{field}[{index}].name")
                continue
        kept.add(value, mark)
    metric["sub_types"] = kept


def _shared_metrics(tree: LocatedDict, report: Report) -> LocatedDict:
    """The metrics written at the top, by name."""
    shared = LocatedDict()
    metrics = tree.get("metrics")
    if not isinstance(metrics, LocatedList):
        return shared
    used = {
        name
        for evaluator in (
            *(evaluator for _, evaluator in entries(tree.get("evaluators"))),
            *(step["evaluator"] for _, step in each_pass(tree) if isinstance(step.get("evaluator"), LocatedDict)),
        )
        for name in (evaluator["metrics"] if isinstance(evaluator.get("metrics"), LocatedList) else ())
        if isinstance(name, str)
    }
    for index, metric in enumerate(metrics):
        if not isinstance(metric, LocatedDict):
            continue
        name = str(metric.get("name", index))
        shared.put(name, metric, metric.mark, metric.mark)
        if name not in used:
            report.add(
                "OL350",
                f"the metric {name} is in no evaluator: it is left out",
                metric.mark,
                f"metrics[{index}]",
                "Name it under `metrics` of an evaluator.",
            )
    take(tree, "metrics")
    return shared


def _evaluator_in_place(tree: LocatedDict) -> None:
    """An evaluator written where its name is expected gets one."""
    evaluator = tree.get("evaluator")
    if not isinstance(evaluator, LocatedDict):
        return
    evaluators = tree.get("evaluators")
    if not isinstance(evaluators, LocatedDict):
        evaluators = LocatedDict(mark=evaluator.mark)
        tree.put("evaluators", evaluators, evaluator.mark, evaluator.mark)
    name = "evaluator"
    while name in evaluators:
        name += "_"
    evaluators.put(name, evaluator, at_key(tree, "evaluator"), evaluator.mark)
    tree.put("evaluator", name, at_key(tree, "evaluator"), evaluator.mark)


def _without_passes(tree: LocatedDict, report: Report) -> None:
    """A file that has evaluators and no pass is there to measure its model."""
    evaluators = tree.get("evaluators")
    if tree.get("passes") or not isinstance(evaluators, LocatedDict) or tree.get("input_model") is None:
        return
    if "evaluator" not in tree and len(evaluators) == 1:
        name = next(iter(evaluators))
        mark = at_key(evaluators, name)
        tree.put("evaluator", name, mark, mark)
        report.add(
            "OL350",
            f"no evaluator is chosen: {name} is, the only one",
            mark,
            "evaluator",
            f"Write `evaluator: {name}`.",
        )
    if "evaluator" in tree and "evaluate_input_model" not in tree:
        mark = at_key(tree, "evaluator")
        tree.put("evaluate_input_model", True, mark, mark)
        report.add(
            "OL350",
            "there are no passes: the input model is measured",
            mark,
            "evaluate_input_model",
            "Write `evaluate_input_model: true`.",
        )
