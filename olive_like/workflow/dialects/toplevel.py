"""The top of a file: `engine`, settings that have no meaning here, and those that we do not have."""

from __future__ import annotations

from olive_like.workflow.dialects.report import Report, at_key
from olive_like.workflow.dialects.tree import lift, rename, take, without_effect
from olive_like.workflow.located import LocatedDict

# setting -> why nothing changes by it
NO_EFFECT = {
    "log_severity_level": "how much is said is chosen on the command line",
    "ort_log_severity_level": "the log of every pass is kept with the run",
    "ort_py_log_severity_level": "the log of every pass is kept with the run",
    "log_to_file": "the log of every pass is kept with the run",
    "no_artifacts": "what a run wrote is described in its output folder and in the cache, nothing else is left behind",
    "clean_cache": "a result is found by its content, so an old one is never taken for a new one",
    "clean_evaluation_cache": "a measurement is found by the content of model and data",
    "plot_pareto_frontier": "the report of a search has the plot",
    "workflow_id": "every run has an id of its own",
    "max_concurrent_builds": "how many passes run side by side is said with --jobs",
    "disable_telemetry": "nothing is sent anywhere",
    "output_name": "files are named by their format, folders by the pass",
}

# setting -> what to do instead
NOT_AVAILABLE = {
    "packaging_config": "Pack the output folder after the run.",
    "azureml_client": "Run on a machine that you can reach; see `olive-like systems`.",
    "workflow_host": "Run on a machine that you can reach; see `olive-like systems`.",
    "aml": "Run on a machine that you can reach; see `olive-like systems`.",
    "cache_config": "Share a cache with cache_dir, or move results with `olive-like cache export` and `import`.",
    "enable_shared_cache": "Share a cache with cache_dir, or move results with `olive-like cache export` and `import`.",
    "auto_optimizer_config": "Write the passes: OnnxConversion or ModelBuilder, and a quantiser.",
    "pass_flows": "Write branches: give each pass the `input` that it follows.",
    "data_root": "Write the paths relative to the workflow file.",
    "resources": "Write the paths in place.",
}

# Keys that only this dialect has at the top; one of them is enough to know it.
SIGNS = frozenset({"engine", "target", "host", "builds", *NO_EFFECT, *NOT_AVAILABLE})


def is_empty(value: object) -> bool:
    """Whether a setting asks for nothing."""
    return value is None or value is False or value == {} or value == []


def translate_engine(tree: LocatedDict, report: Report) -> None:
    """`engine:` is the same settings one level deeper."""
    if "engine" in tree:
        engine = tree["engine"]
        if isinstance(engine, LocatedDict):
            lift(engine, "config", report, "engine")
            take(engine, "type")
        lift(tree, "engine", report, "")
    rename(tree, {"packaging": "packaging_config"})


def translate_settings(tree: LocatedDict, report: Report) -> None:
    """Accept what cannot matter, name what is not there."""
    without_effect(tree, NO_EFFECT, report, "")
    for key, hint in NOT_AVAILABLE.items():
        if key not in tree:
            continue
        if is_empty(tree[key]):
            report.add("OL351", f"{key} has no effect here: it asks for nothing", at_key(tree, key), key)
        else:
            report.add("OL308", f"workflow setting not available: {key}", at_key(tree, key), key, hint)
        take(tree, key)
