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
    from olive_like.diagnostics import Severity
    from olive_like.graph.check import diagnose
    from olive_like.workflow.read import read

    diagnostics = diagnose(read(args.file, args.overrides), files=not args.no_files)
    ok = not any(d.severity is Severity.ERROR for d in diagnostics)
    if args.json:
        import json

        from olive_like.redact import Redactor

        found = Redactor().data([d.to_json() for d in diagnostics])
        print(json.dumps({"ok": ok, "diagnostics": found}, ensure_ascii=False))
    else:
        from olive_like.diagnostics.render import render

        if diagnostics:
            print(render(diagnostics, stream=sys.stdout))
        else:
            print(f"{args.file}: nothing wrong")
    return 0 if ok else 2
