"""`olive-like doctor`: what this machine has, and which systems work on it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache-dir", help="the cache folder, in place of the default one")
    parser.add_argument("--online", action="store_true", help="ask whether the hub can be reached")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    from olive_like.cli.cache_root import cache_root
    from olive_like.systems.doctor import examine

    found = examine(cache_root(args.cache_dir), online=args.online)
    if args.json:
        print(json.dumps(found))
        return 0
    from olive_like import __version__

    rows = [("olive-like", __version__), *_rows(found)]
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in rows))
    return 0


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "python", f"{found['python']['version']} ({found['python']['executable']})"
    cpu = found["cpu"]
    yield "processor", f"{cpu['model']}, {cpu['cores']} of {cpu['processors'] or '?'} cores may be used"
    there = [name for name, there in cpu["features"].items() if there]
    yield "", "has " + (", ".join(there) or "no special instructions")
    lacking = [name for name, there in cpu["features"].items() if not there]
    if lacking:
        yield "", "lacks " + ", ".join(lacking)
    memory = found["memory"]
    yield "memory", f"{_size(memory['limit'])}, {_size(memory['available'])} free"
    yield from _gpus(found["gpu"])
    there = [f"{name} {version}" for name, version in found["libraries"].items() if version]
    for start in range(0, len(there), 6):
        yield "libraries" if start == 0 else "", ", ".join(there[start : start + 6])
    missing = [name for name, version in found["libraries"].items() if not version]
    if missing:
        yield "", "not installed: " + ", ".join(missing)
    yield "hub", _hub(found["hub"])
    yield from _cache(found["cache"])
    for name, state in sorted(found["systems"].items(), key=lambda item: not item[1]["works"]):
        yield f"system {name}", "works" if state["works"] else "does not work here"
        for trouble in state["troubles"]:
            yield "", f"{trouble['message']}. {trouble['hint']}".rstrip()


def _gpus(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    driver = f"driver {found['driver']}" if found["driver"] else "no NVIDIA driver"
    if not found["gpus"]:
        yield "gpu", f"none ({driver})"
    for index, gpu in enumerate(found["gpus"]):
        more = [f"capability {gpu['capability']}"] if gpu.get("capability") else []
        more += [_size(gpu["memory"])] if gpu.get("memory") else []
        yield f"gpu {index}", ", ".join([gpu["name"], *more, driver])


def _hub(found: dict[str, Any]) -> str:
    if found["offline"]:
        return f"{found['address']}: switched off by HF_HUB_OFFLINE"
    if found["reachable"] is None:
        return f"{found['address']}: not asked (--online asks)"
    if found["reachable"]:
        return f"{found['address']}: answers within {found['seconds']} s"
    return f"{found['address']}: not reachable: {found['why']}"


def _cache(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    there = "" if found["exists"] else " (made when it is first needed)"
    yield "cache", f"{found['path']}{there}"
    kind = found["file_system"] or "unknown file system"
    yield "", f"{kind}, {_size(found['free'])} of {_size(found['total'])} free"
    if not found["writable"]:
        yield "", "cannot be written by this user: results would go to a folder of your own beside it"
        return
    can = {"locks": "locks", "reflink": "copies without taking space", "symlinks": "links", "sync": "sync"}
    yield "", "has " + ", ".join(text for name, text in can.items() if found[name])
    lacking = [text for name, text in can.items() if not found[name]]
    if lacking:
        yield "", "lacks " + ", ".join(lacking)
    if not found["locks"]:
        yield "", "without locks two runs may do the same work twice: choose another folder with OLIVE_LIKE_CACHE"


def _size(count: int | None) -> str:
    return "?" if count is None else f"{count / 2**30:.1f} GiB"
