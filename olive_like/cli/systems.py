"""`olive-like systems`: list the systems, or describe one."""

from __future__ import annotations

import argparse
import json
from typing import Any

from olive_like.errors import WorkflowError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="describe this system")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    from olive_like.systems import registry

    if args.name is None:
        from olive_like.cli.broken import say_broken

        print(json.dumps([_described(n) for n in registry.working()]) if args.json else _listing())
        return say_broken(registry.broken())
    try:
        described = _described(args.name)
    except registry.UnknownSystem:
        from olive_like.diagnostics.nearest import did_you_mean

        hint = did_you_mean(args.name, registry.names()) or "`olive-like systems` lists them."
        raise WorkflowError(f"there is no system {args.name!r}", hint) from None
    if args.json:
        described["settings"] = registry.load(args.name).Config.model_json_schema(by_alias=False)
        print(json.dumps(described))
    else:
        print(_page(args.name))
    return 0


def _described(name: str) -> dict[str, Any]:
    from olive_like.systems import registry

    found, cls = registry.entry(name), registry.load(name)
    return {
        "name": found.name,
        "description": (cls.__doc__ or "").strip().partition("\n")[0],
        "origin": found.origin,
        "aliases": sorted(alias for alias, proper in registry.ALIASES.items() if proper == found.name),
    }


def _listing() -> str:
    from olive_like.systems import registry

    names = registry.working()
    width = max(map(len, names))
    lines = [f"  {name:<{width}}  {_described(name)['description']}" for name in names]
    return "\n".join(["systems:", *lines, "", "olive-like systems NAME describes one."])


def _page(name: str) -> str:
    import inspect

    from olive_like.cli.describe import settings_of, table
    from olive_like.systems import registry

    cls, described = registry.load(name), _described(name)
    also = f"\n\nalso called: {', '.join(described['aliases'])}" if described["aliases"] else ""
    settings = table(list(settings_of(cls.Config)))
    return f"{described['name']}: {inspect.getdoc(cls) or ''}".rstrip() + f"{also}\n\nsettings:\n{settings}"
