"""`olive-like diff`: two runs compared field by field."""

from __future__ import annotations

import argparse
import json


def configure(parser: argparse.ArgumentParser) -> None:
    run = "a run: its id, the beginning of it, `last` or `previous`"
    parser.add_argument("old", nargs="?", default="previous", help=run)
    parser.add_argument("new", nargs="?", default="last", help="the run to compare with it; with neither, the last two")
    parser.add_argument("--cache-dir", help="the cache folder, in place of the default one")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    from olive_like.cli.cache_root import cache_root
    from olive_like.engine.runs import find_run
    from olive_like.graph.compare import compare

    root = cache_root(args.cache_dir)
    difference = compare(find_run(root, args.old).folder, find_run(root, args.new).folder)
    print(json.dumps(difference.to_json()) if args.json else difference.to_text())
    return 0
