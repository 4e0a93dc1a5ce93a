"""`olive-like plan`: what a run would do, and why."""

from __future__ import annotations

import argparse
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="workflow file, YAML or JSON")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--cache-dir", help="the cache folder, in place of the default one")
    parser.add_argument("--until", metavar="PASS", help="leave out what this pass does not need")
    parser.add_argument("--only", metavar="PASS", help="show this pass alone; what it needs must be in the cache")
    parser.add_argument("--again", action="append", default=[], metavar="PASS", help="as with `run`")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    from olive_like.api import plan

    planned = plan(
        args.file,
        overrides=args.overrides,
        cache_dir=args.cache_dir,
        until=args.until,
        only=args.only,
        again=args.again,
    )
    if args.json:
        import json

        json.dump(planned.to_json(), sys.stdout)
        print()
    else:
        from olive_like.graph.draw import draw

        print(draw(planned))
    return 0
