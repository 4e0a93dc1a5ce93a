"""`olive-like schema`: the JSON Schema of workflow files, for completion and hover text in editors."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="FILE", help="write it to a file instead of printing it")


def execute(args: argparse.Namespace) -> int:
    from olive_like.workflow.json_schema import as_text

    text = as_text()
    if args.output:
        from pathlib import Path

        Path(args.output).write_text(text, encoding="utf-8", newline="\n")
    else:
        print(text, end="")
    from olive_like.cli.broken import say_broken
    from olive_like.passes import registry as passes
    from olive_like.systems import registry as systems

    return say_broken([*passes.broken(), *systems.broken()])
