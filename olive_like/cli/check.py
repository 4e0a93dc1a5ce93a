"""`olive-like check`: name every problem of a workflow without running it."""

from __future__ import annotations

import argparse
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="workflow file, YAML or JSON")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="replace a value of the file, as in passes.lora.r=8; may be repeated")  # fmt: skip
    parser.add_argument("--no-files", action="store_true", help="do not look whether the files that are named exist")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    from olive_like.api import check

    result = check(args.file, overrides=args.overrides, files=not args.no_files)
    if args.json:
        import json

        from olive_like.redact import Redactor

        print(json.dumps(Redactor().data(result.to_json())))
    elif result.diagnostics:
        from olive_like.diagnostics.render import render

        print(render(result.diagnostics, stream=sys.stdout))
    else:
        print(f"{args.file}: nothing wrong")
    return 0 if result.ok else 2
