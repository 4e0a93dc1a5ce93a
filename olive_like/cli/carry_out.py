"""What a command does with the workflow that it made: print it, write it, run it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

FILE = "workflow.yaml"


def carry_out(workflow: dict[str, Any], args: argparse.Namespace, why: str | None = None) -> int:
    """Check the workflow, then do with it what the flags say; `why` it is that one is said once nothing is wrong."""
    from olive_like.workflow.moving import moved
    from olive_like.workflow.read import read

    read(workflow).require()
    output = args.output_path
    if getattr(args, "test", False):
        from olive_like.cli import trial

        output = trial.folder(output)  # what is tried is not to pass for the result itself
    folder = Path(output)
    if args.dry_run or args.save_config_file:
        text = as_yaml({**moved(workflow, Path.cwd(), folder.absolute()), "output_dir": "."})
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(text, encoding="utf-8")
        if args.dry_run:
            if why is not None:
                print(why, file=sys.stderr)
            print(text, end="")
            print(f"# written to {folder / FILE}; run it with: olive-like run {folder / FILE}", file=sys.stderr)
            return 0
    from olive_like.cli.run import run_and_show

    return run_and_show(workflow, args, why=why, output_dir=output)


def as_yaml(workflow: dict[str, Any]) -> str:
    """The workflow as a file."""
    import yaml

    text: str = yaml.safe_dump(workflow, sort_keys=False, allow_unicode=True, width=110)
    return text
