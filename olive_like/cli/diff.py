"""`olive-like diff`: two runs compared field by field."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", help="a run: its id or the beginning of it")
    parser.add_argument("new", help="the run to compare with it")
    parser.add_argument("--cache-dir", help="the cache folder, in place of the default one")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    from olive_like.graph.compare import compare
    from olive_like.store import default_root

    root = Path(args.cache_dir) if args.cache_dir else default_root()
    difference = compare(root / "runs", args.old, args.new)
    print(json.dumps(difference.to_json()) if args.json else difference.to_text())
    return 0
