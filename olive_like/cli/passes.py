"""`olive-like passes`: list the passes, or describe one."""

from __future__ import annotations

import argparse
import json
from typing import Any

from olive_like.errors import WorkflowError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="describe this pass")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    from olive_like.cli.broken import say_broken
    from olive_like.passes import registry

    if args.name is None:
        print(json.dumps(_all()) if args.json else _listing())
        return say_broken(registry.broken())
    try:
        described = _described(args.name)
    except registry.UnknownPass:
        from olive_like.diagnostics.nearest import did_you_mean

        hint = did_you_mean(args.name, registry.names()) or "`olive-like passes` lists them."
        raise WorkflowError(f"there is no pass {args.name!r}", hint) from None
    print(json.dumps(described) if args.json else _page(args.name))
    return 0


def _described(name: str) -> dict[str, Any]:
    from olive_like.passes import registry
    from olive_like.passes.base import kind_words

    entry, cls = registry.entry(name), registry.load(name)
    return {
        "name": entry.name,
        "description": registry.doc(cls),
        "available": cls.available(),
        "origin": entry.origin,
        "accepts": kind_words(cls.accepts),
        "produces": cls.produces.kind if cls.produces else None,
        "inputs": list(cls.arity),
        "version": cls.version,
        "tools": list(cls.tools),
        "distributed": cls.distributed,
        "settings": cls.Config.model_json_schema(by_alias=False),
    }


def _all() -> list[dict[str, Any]]:
    from olive_like.passes import registry

    return [{k: v for k, v in _described(name).items() if k != "settings"} for name in registry.working()]


def _listing() -> str:
    """The passes by the room that they stand in."""
    from olive_like.passes import registry

    rooms: dict[str, list[str]] = {}
    names = registry.working()
    width = max(map(len, names))
    for name in names:
        entry, cls = registry.entry(name), registry.load(name)
        room = entry.target.split(".")[2].replace("_", " ") if entry.origin == "built in" else entry.origin
        missing = "" if cls.available() else " (declared, cannot run yet)"
        rooms.setdefault(room, []).append(f"  {name:<{width}}  {registry.doc(cls)}{missing}")
    order = [room.rpartition(".")[2].replace("_", " ") for room in registry.ROOMS]
    parts = [
        f"{room}:\n" + "\n".join(rooms[room])
        for room in sorted(rooms, key=lambda r: order.index(r) if r in order else len(order))
    ]
    return "\n\n".join([*parts, "olive-like passes NAME describes one."])


def _page(name: str) -> str:
    import inspect

    from olive_like.cli.describe import settings_of, table
    from olive_like.passes import registry
    from olive_like.passes.base import arity_words, kind_words
    from olive_like.passes.examples import example

    entry, cls = registry.entry(name), registry.load(name)
    shown = example(entry.name)
    facts = [
        f"takes     {arity_words(cls.arity)}: {kind_words(cls.accepts)}",
        f"makes     {cls.produces.kind if cls.produces else 'what its input is'}",
    ]
    if cls.tools:
        facts.append(f"needs     {', '.join(cls.tools)}")
    if entry.origin != "built in":
        facts.append(f"from      {entry.origin}")
    if not cls.available():
        facts.append("status    declared, cannot run yet")
    return "\n\n".join(
        [
            f"{entry.name}: {inspect.getdoc(cls) or ''}".rstrip(),
            "\n".join(facts),
            "settings:\n" + table(list(settings_of(cls.Config))),
            *([f"example, beside what `olive-like workflows copy quickstart` makes:\n{shown}"] if shown else []),
        ]
    )
