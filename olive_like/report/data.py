"""What a report shows, read from a run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from olive_like.engine.events import safe_name

_MOST_POINTS = 400  # of a curve: more could not be seen
_LOG_TAIL = 4000  # characters of a pass's log
_CURVES = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second")


def run_data(folder: Path, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """Everything about a run that the page needs; `details` are facts about artifacts, by pass."""
    run, plan, keys = (_json(folder / name) for name in ("run.json", "plan.json", "keys.json"))
    times, curves = _events(folder)
    for name, facts in (details or {}).items():
        if name not in curves and facts.get("curves"):  # of the run that made what was a hit in this one
            curves[name] = facts["curves"]
    planned = {node["name"]: node for node in plan.get("nodes", [])}
    passes = run.get("passes") or [{"name": name, "status": "open"} for name in planned]
    many = len(passes) > 300
    return {
        "run": run.get("run", folder.name),
        "status": run.get("status", "unknown"),
        "seconds": run.get("seconds"),
        "started": run.get("started"),
        "versions": run.get("versions", {}),
        "workflow": run.get("workflow"),
        "snapshot": run.get("snapshot"),
        "outputs": run.get("outputs", {}),
        "goals": _goals(folder),
        "search": _json(folder / "search.json") or None,
        "nodes": [
            {
                **{key: one.get(key) for key in ("name", "pass", "status", "key", "digest", "seconds", "bytes")},
                "peak": one.get("peak_rss_bytes"),
                "metrics": one.get("metrics", {}),
                "notes": one.get("notes", []),
                "warnings": one.get("warnings", []),
                "error": one.get("error"),
                "inputs": _upstream(planned.get(one["name"], {})),
                "system": planned.get(one["name"], {}).get("system"),
                "reasons": planned.get(one["name"], {}).get("reasons", []),
                "document": None if many else keys.get(one["name"], {}).get("document"),
                "time": times.get(one["name"]),
                "log": "" if many else _log(folder, one["name"]),
            }
            for one in passes
        ],
        "curves": curves,
        "details": {name: {k: v for k, v in one.items() if k != "curves"} for name, one in (details or {}).items()},
    }


def curves_of(runs: Path, run: str, node: str) -> dict[str, list[list[float]]]:
    """The curves of a pass of an earlier run, if its log is still there."""
    file = runs / Path(run).name / "metrics" / f"{safe_name(node)}.jsonl"
    found: dict[str, list[list[float]]] = {}
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.endswith("}"):
                _add_points(found, json.loads(line))
    return {curve: _thinned(points) for curve, points in found.items()}


def _add_points(curves: dict[str, list[list[float]]], event: dict[str, Any]) -> None:
    for curve in _CURVES:
        if curve in event:
            curves.setdefault(curve, []).append([event["step"], event[curve]])


def _upstream(node: dict[str, Any]) -> list[str]:
    return [*node.get("inputs", []), *node.get("data", {}).values()]


def _json(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    file = folder / "events.jsonl"
    if not file.exists():
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):  # the last line of a killed run may be cut off
                yield json.loads(line)


def _events(folder: Path) -> tuple[dict[str, list[float]], dict[str, dict[str, list[list[float]]]]]:
    """When each pass began and ended, and its curves."""
    times: dict[str, list[float]] = {}
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for event in _lines(folder):
        name, kind = event.get("pass"), event["event"]
        if name is None:
            continue
        if kind == "started":
            times[name] = [event["time"]]
        elif kind in ("done", "failed") and name in times:
            times[name] = [times[name][0], event["time"]]
        elif kind == "progress":
            _add_points(curves.setdefault(name, {}), event)
    curves = {name: found for name, found in curves.items() if found}
    return times, {name: {curve: _thinned(points) for curve, points in found.items()} for name, found in curves.items()}


def _thinned(points: list[list[float]]) -> list[list[float]]:
    step = max(1, -(-len(points) // _MOST_POINTS))
    return points[::step] + ([points[-1]] if step > 1 else [])


def _goals(folder: Path) -> list[dict[str, Any]]:
    return [
        {"node": event["pass"], "met": event["met"], "text": event["text"]}
        for event in _lines(folder)
        if event["event"] == "goal"
    ]


def _log(folder: Path, name: str) -> str:
    file = folder / "logs" / f"{safe_name(name)}.log"
    if not file.is_file():
        return ""
    with file.open("rb") as log:
        log.seek(0, 2)
        log.seek(max(0, log.tell() - _LOG_TAIL))
        return log.read().decode("utf-8", "replace")
