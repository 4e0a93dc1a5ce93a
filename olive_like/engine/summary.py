"""A finished run as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from olive_like.engine.comparison import SUFFIX, comparison

_MARKS = {"hit": "hit", "ran": "ran", "failed": "FAILED", "skipped": "skipped"}
_HEAD = ("pass", "status", "time", "memory", "size", "metrics")
_FEW = 3
_MOST = 60  # rows; of a larger graph only what failed or was measured is listed


def summarise(result: Mapping[str, Any], every: bool = False) -> str:
    """The table of passes, what failed and why, and where the outputs are."""
    passes = result["passes"]
    shown = (
        passes
        if every or len(passes) <= _MOST
        else [p for p in passes if p["status"] == "failed" or p["metrics"]][:_MOST]
    )
    lines = table([_HEAD, *(_row(p) for p in shown)])
    if len(shown) < len(passes):
        lines.append(f"({len(passes) - len(shown)} more passes: olive-like runs show {result['run']})")
    measured = comparison(passes)
    if measured:
        lines += ["", *table(measured), ""]
    for item in passes:
        lines += [f"note: {item['name']}: {text}" for text in item["notes"]]
        lines += [f"warning: {item['name']}: {text}" for text in item["warnings"]]
    lines += failures(result)
    lines += _search(result.get("search"))
    lines += [f"goal met: {goal['node']}: {goal['text']}" for goal in result.get("goals", ()) if goal["met"]]
    lines += missed(result)
    for name, output in result["outputs"].items():
        lines.append(f"{name}: {output['path']} ({size(output['bytes'])})")
    lines.append(_last_line(result))
    return "\n".join(lines)


def failures(result: Mapping[str, Any]) -> list[str]:
    """What went wrong, each in a line, and what to do."""
    lines = []
    for item in result["passes"]:
        if item["status"] == "failed":
            lines += _failure(item)
    for error in result.get("errors", ()):
        lines.append(f"error: the output {error['output']} could not be delivered: {error['message']}")
        lines += [f"hint: {error['hint']}"] if error["hint"] else []
    return lines


def missed(result: Mapping[str, Any]) -> list[str]:
    """Goals that were not reached."""
    return [f"goal MISSED: {goal['node']}: {goal['text']}" for goal in result.get("goals", ()) if not goal["met"]]


def size(count: float | None) -> str:
    """Bytes as a person reads them."""
    if not count:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def metric(name: str, entry: Any) -> str:
    """One number with its name."""
    value = entry.get("value") if isinstance(entry, Mapping) else entry
    unit = entry.get("unit") if isinstance(entry, Mapping) else None
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{name}={text}{' ' + unit if unit else ''}"


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    ran = item["status"] == "ran"
    return (
        item["name"],
        _MARKS[item["status"]],
        duration(item["seconds"]) if ran else "",
        size(item["peak_rss_bytes"]) if ran else "",
        size(item["bytes"]),
        _metrics(item),
    )


def _metrics(item: Mapping[str, Any]) -> str:
    """The first few numbers of a pass; what was measured has a table of its own."""
    if item["name"].endswith(SUFFIX):
        return ""
    own = [metric(name, value) for name, value in item["metrics"].items() if "-" not in name]
    return " ".join(own[:_FEW]) + (f" (+{len(own) - _FEW})" if len(own) > _FEW else "")


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines, columns side by side."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _search(search: Mapping[str, Any] | None) -> list[str]:
    """The candidates that no other beats, the best marked."""
    if not search:
        return []
    names = [objective["metric"] for objective in search["objectives"]]
    rows: list[tuple[str, ...]] = [("trial", *names, "settings")]
    for trial in search["trials"]:
        if trial["number"] in search["pareto_front"]:
            mark = "*" if trial["number"] == search["best"] else ""
            settings = " ".join(f"{name}={value}" for name, value in (trial.get("settings") or trial["point"]).items())
            rows.append((f"{trial['number']}{mark}", *(f"{trial['values'][name]:.4g}" for name in names), settings))
    told = f"{len(search['trials'])} candidates; the best (*) is written to best.yaml"
    return ["", *table(rows), told, ""]


def _failure(item: Mapping[str, Any]) -> list[str]:
    error = item["error"]
    lines = [f"error: {item['name']} failed: {error['message']}"]
    if error["hint"]:
        lines.append(f"hint: {error['hint']}")
    if error["log"]:
        lines.append(f"log: {error['log']}")
    if error["repro"]:
        lines.append(f"to replay just this pass: python -m olive_like.engine.replay {error['repro']}")
    return lines


def _last_line(result: Mapping[str, Any]) -> str:
    counts = {status: sum(p["status"] == status for p in result["passes"]) for status in _MARKS}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{result['status']} in {duration(result['seconds'])}: {told} (run {result['run']})"
