"""Whether a file has anything to translate, told from its keys alone: this runs for every file."""

from __future__ import annotations

from typing import Any

from olive_like.workflow.located import LocatedDict, LocatedList

# Keys of the top level that this engine's own files do not have.
TOP = frozenset(
    {
        *("model", "engine", "host", "target", "builds", "metrics", "training_config", "search_space", "packaging"),
        *("log_severity_level", "ort_log_severity_level", "ort_py_log_severity_level", "log_to_file", "no_artifacts"),
        *("clean_cache", "clean_evaluation_cache", "plot_pareto_frontier", "workflow_id", "max_concurrent_builds"),
        *("disable_telemetry", "output_name", "packaging_config", "azureml_client", "workflow_host", "aml"),
        *("cache_config", "enable_shared_cache", "auto_optimizer_config", "pass_flows", "data_root", "resources"),
    }
)
OWN_MODELS = frozenset({"HfModel", "PyTorchModel", "OnnxModel", "Null", None})
DATA_PARTS = frozenset(
    {"type", "load_dataset_config", "pre_process_data_config", "post_process_data_config", "dataloader_config"}
)
PASS = frozenset({"host", "disable_search", "clean_run_cache", "output_name"})
PLACEHOLDERS = frozenset({"SEARCHABLE_VALUES", "DEFAULT_VALUE", "DEFAULT"})
_SYSTEM = frozenset({"config", "accelerators", "hf_token", "is_dev", "olive_managed_env", "local_docker_config"})
_EVALUATOR = frozenset({"name", "metrics", "data_config"})


def is_foreign(tree: LocatedDict) -> bool:
    """Whether a translation would find something to do. (A search strategy is always looked at.)"""
    if not TOP.isdisjoint(tree) or "search_strategy" in tree:
        return True
    model, evaluators = tree.get("input_model"), tree.get("evaluators")
    if isinstance(model, LocatedDict) and _foreign_model(model):
        return True
    if isinstance(tree.get("evaluator"), LocatedDict) or (evaluators and not tree.get("passes")):
        return True
    return (
        any(not DATA_PARTS.isdisjoint(config) for config in _mappings(tree.get("data_configs")))
        or any(_foreign_system(system) for system in _mappings(tree.get("systems")))
        or any(_foreign_evaluator(evaluator) for evaluator in _mappings(evaluators))
        or any(_foreign_pass(step) for step in _steps(tree.get("passes")))
        or unnamed_data_set(tree) is not None
    )


def unnamed_data_set(tree: LocatedDict) -> str | None:
    """The name of the only data set, if nothing in the file uses it."""
    sets = tree.get("data_configs")
    if not isinstance(sets, (LocatedDict, LocatedList)) or len(sets) != 1:
        return None
    name = next(iter(sets)) if isinstance(sets, LocatedDict) else getattr(sets[0], "get", lambda _: None)("name")
    used = (
        value == name
        for holder in (*_steps(tree.get("passes")), *_metrics(tree.get("evaluators")))
        for settings in (holder, *_mappings([holder.get("config")]))
        for key, value in settings.items()
        if key.endswith("data_config") or key == "data"
    )
    return name if isinstance(name, str) and not any(used) else None


def _mappings(value: Any) -> list[LocatedDict]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, LocatedDict)]


def _steps(value: Any) -> list[LocatedDict]:
    """Passes, alternatives included."""
    if not isinstance(value, LocatedDict):
        return []
    return [step for item in value.values() for step in (_mappings(item) if isinstance(item, list) else [item])
            if isinstance(step, LocatedDict)]  # fmt: skip


def _metrics(value: Any) -> list[LocatedDict]:
    return [metric for evaluator in _mappings(value) for metric in _mappings(evaluator.get("metrics"))]


def _foreign_model(model: LocatedDict) -> bool:
    kind, path = model.get("type"), model.get("model_path")
    if not isinstance(kind, (str, type(None))):
        return True
    return (
        kind not in OWN_MODELS
        or "config" in model
        or "hf_config" in model
        or (kind is None and "type" not in model and path is not None)
        or (kind == "PyTorchModel" and not model.get("model_script"))
        or not isinstance(path, (str, type(None)))
        or not {"model_attributes", "generative", "mlflow_transformer_model_cache_dir"}.isdisjoint(model)
    )


def _foreign_system(system: LocatedDict) -> bool:
    kind = str(system.get("type"))
    return kind.lower() != kind or kind in ("azureml", "isolatedort") or not _SYSTEM.isdisjoint(system)


def _foreign_evaluator(evaluator: LocatedDict) -> bool:
    metrics = evaluator.get("metrics")
    return (
        not _EVALUATOR.issuperset(evaluator)
        or any(_foreign_metric(metric) for metric in _mappings(metrics))
        or any(_unknown_name(name) for name in (metrics if isinstance(metrics, list) else ()) if isinstance(name, str))
    )


def _foreign_metric(metric: LocatedDict) -> bool:
    return (
        isinstance(metric.get("sub_types"), list)
        or isinstance(metric.get("data_config"), LocatedDict)
        or not {"config", "sample_log_num", "sample_log_dir"}.isdisjoint(metric)
    )


def _unknown_name(name: str) -> bool:
    from olive_like.metrics.catalog import shorthand

    return shorthand(name) is None


def _foreign_pass(step: LocatedDict) -> bool:
    if not PASS.isdisjoint(step) or isinstance(step.get("evaluator"), LocatedDict):
        return True
    for key, value in step.items():
        if isinstance(value, str):
            if value in PLACEHOLDERS:
                return True
        elif isinstance(value, LocatedDict) and (
            key.endswith("data_config")
            or str(value.get("type", "")).lower().startswith("conditional")
            or (key == "config" and _foreign_pass(value))
        ):
            return True
    return False
