"""`olive-like logs`: what a pass of a run printed."""

from __future__ import annotations

import argparse
import json
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run: its id, the beginning of it, or `last`")
    parser.add_argument("name", metavar="PASS", help="the pass")
    parser.add_argument("--cache-dir", metavar="DIR", help="the cache folder, in place of the default one")
    parser.add_argument("--json", action="store_true", help="print one JSON document, with the pass's events")


def execute(args: argparse.Namespace) -> int:
    from olive_like.cli.cache_root import cache_root
    from olive_like.engine.runs import find_run

    run = find_run(cache_root(args.cache_dir), args.run)
    path = run.log(args.name)
    text = path.read_text(encoding="utf-8", errors="replace")
    if args.json:
        events = [event for event in run.events() if event.get("pass") == args.name]
        print(json.dumps({"run": run.id, "pass": args.name, "path": str(path), "log": text, "events": events}))
    else:
        sys.stdout.write(text)
    return 0
