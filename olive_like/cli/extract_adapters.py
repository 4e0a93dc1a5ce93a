"""`olive-like extract-adapters`: the adapters that a checkpoint holds beside its own weights, each as a file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from olive_like.cli import flags
from olive_like.cli.convert_adapters import FORMATS
from olive_like.cli.silent import silent
from olive_like.errors import WorkflowError


def configure(parser: argparse.ArgumentParser) -> None:
    flags.model(parser, adapter=False)
    parser.add_argument("-f", "--format", choices=FORMATS, help="format of the files")
    parser.add_argument("-o", "--output-path", metavar="DIR", default="adapters", help="default: adapters")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="default: float32")
    parser.add_argument("--cache-dir", help=argparse.SUPPRESS)
    flags.accepted(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    from olive_like.graph.sources import hub_snapshot

    name = flags.required(args.model_name_or_path, "--model-name-or-path")
    form = flags.required(args.format, "--format")
    folder = Path(name) if Path(name).is_dir() else hub_snapshot(name)
    if folder is None:
        raise WorkflowError(f"{name} is not on this machine", "Name a local folder.")
    with silent():
        from olive_like.passes._adapter_convert import extract_adapters

        written = extract_adapters(folder, Path(args.output_path), form, args.dtype)
    if args.json:
        print(json.dumps({name: str(path) for name, path in written.items()}))
    else:
        print("\n".join(f"{name}: {path}" for name, path in written.items()))
    return 0
