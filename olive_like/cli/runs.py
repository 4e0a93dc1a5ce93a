"""`olive-like runs`: list runs, or show one."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from olive_like.errors import WorkflowError

if TYPE_CHECKING:
    from olive_like.engine.runs import PastRun


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("show", nargs="?", help="`show`, to see one run", metavar="show")
    parser.add_argument("run", nargs="?", metavar="RUN", help="its id, the beginning of it, or `last`")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="how many to list (default: 20)")
    parser.add_argument("--cache-dir", metavar="DIR", help="the cache folder, in place of the default one")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    from olive_like.cli.cache_root import cache_root
    from olive_like.engine.runs import all_runs, find_run

    root = cache_root(args.cache_dir)
    if args.show is None:
        _list(all_runs(root)[: args.limit], args.json)
    elif args.show == "show" and args.run is not None:
        _show(find_run(root, args.run), args.json)
    else:
        raise WorkflowError(f"there is no `runs {args.show}`", "`runs` lists runs; `runs show RUN` shows one.")
    return 0


def _list(runs: list[PastRun], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"runs": [run.to_json() for run in runs]}))
        return
    for run in runs:
        data = run.to_json()
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(data["started"] or 0))
        counts = ", ".join(f"{count} {status}" for status, count in data["passes"].items())
        print(f"{run.id}  {started}  {run.status:<11}  {data['workflow'] or ''}  {counts}".rstrip())


def _show(run: PastRun, as_json: bool) -> None:
    details = run.details()
    if as_json:
        print(json.dumps(details))
        return
    from olive_like.engine.summary import summarise

    print(f"workflow {details.get('workflow')}, {details['status']}, in {details['folder']}")
    if details["passes"]:
        print(summarise(details, every=True))
