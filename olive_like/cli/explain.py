"""`olive-like explain`: what a diagnostic code means, or why a pass would run."""

from __future__ import annotations

import argparse

from olive_like.errors import WorkflowError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", metavar="CODE|FILE", help="a code such as OL101, or a workflow file")
    parser.add_argument("name", metavar="PASS", nargs="?", help="with a file: the pass to explain")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="with a file: replace a value of it; may be repeated")  # fmt: skip
    parser.add_argument("--cache-dir", help="with a file: the cache folder, in place of the default one")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    if args.name is None and _is_code(args.subject):
        return _code(args.subject.upper(), args.json)
    if args.name is None:
        raise WorkflowError(
            f"{args.subject!r} is not a code, and as a file it needs the name of a pass",
            "Write `olive-like explain OL101`, or `olive-like explain FILE PASS`.",
        )
    return _pass(args)


def _pass(args: argparse.Namespace) -> int:
    from olive_like.api import plan
    from olive_like.graph.explain import explain, find

    planned = plan(args.subject, overrides=args.overrides, cache_dir=args.cache_dir)
    if args.json:
        import json

        print(json.dumps(find(planned, args.name).to_json()))
    else:
        print(explain(planned, args.name))
    return 0


def _is_code(text: str) -> bool:
    return text[:2].upper() == "OL" and text[2:].isdigit()


def _code(code: str, as_json: bool) -> int:
    from olive_like.diagnostics import codes

    entry = codes.find(code)
    if entry is None:
        from olive_like.diagnostics.nearest import did_you_mean

        raise WorkflowError(f"there is no code {code}", did_you_mean(code, codes.all_codes()))
    if as_json:
        import json

        print(json.dumps({"code": code, **entry._asdict()}))
    else:
        print(codes.page(code))
    return 0
