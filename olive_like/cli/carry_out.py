"""What a command does with the workflow that it made: print it, write it, run it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

FILE = "workflow.yaml"
_PATHS = ("model_path", "adapter_path", "model_script", "script_dir", "source", "user_script", "init_adapter")


def carry_out(workflow: dict[str, Any], args: argparse.Namespace) -> int:
    """Check the workflow, then do with it what the flags say."""
    from olive_like.workflow.read import read

    read(workflow).require()
    folder = Path(args.output_path)
    if args.dry_run or args.save_config_file:
        text = as_yaml({**_moved(workflow, folder), "output_dir": "."})
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(text, encoding="utf-8")
        if args.dry_run:
            print(text, end="")
            print(f"# written to {folder / FILE}; run it with: olive-like run {folder / FILE}", file=sys.stderr)
            return 0
    from olive_like.cli.run import run_and_show

    return run_and_show(workflow, args, output_dir=args.output_path)


def as_yaml(workflow: dict[str, Any]) -> str:
    """The workflow as a file."""
    import yaml

    text: str = yaml.safe_dump(workflow, sort_keys=False, allow_unicode=True, width=110)
    return text


def _moved(value: Any, folder: Path, key: str = "") -> Any:
    """The workflow with local paths as they are seen from the folder that its file goes to."""
    import os

    if isinstance(value, dict):
        return {name: _moved(item, folder, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, folder, key) for item in value]
    if key in (*_PATHS, "files") and isinstance(value, str) and Path(value).exists():
        return value if Path(value).is_absolute() else os.path.join(".", os.path.relpath(value, folder))
    return value
