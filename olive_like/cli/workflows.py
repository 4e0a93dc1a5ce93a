"""`olive-like workflows`: the ready-made workflows; `copy` makes one yours."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

from olive_like.errors import OliveLikeError, WorkflowError
from olive_like.workflows import Ready, ready_made


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", metavar="[show NAME | copy NAME [FOLDER]]")
    show = commands.add_parser("show", help="print a workflow")
    show.add_argument("name")
    copy = commands.add_parser("copy", help="copy a workflow, with all that it needs, into a folder")
    copy.add_argument("name")
    copy.add_argument("folder", nargs="?", help="default: a new folder of the workflow's name")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def execute(args: argparse.Namespace) -> int:
    if args.command == "copy":
        found = _find(args.name)
        target = Path(args.folder or found.name)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OliveLikeError(f"{target} is there already, and not empty", "Name another folder.")
        _copy(found, target)
        print(f"copied to {target}; run it with: olive-like run {target / found.file.name}")
        return 0
    if args.command == "show":
        print(_find(args.name).file.read_text(encoding="utf-8"), end="")
        return 0
    table = ready_made()
    if args.json:
        print(json.dumps([{"name": one.name, "about": one.about, "file": str(one.file)} for one in table.values()]))
        return 0
    width = max(map(len, table))
    for one in table.values():
        print(f"{one.name:<{width}}  {one.about}")
    print("\nolive-like workflows copy NAME makes one yours.")
    return 0


def _copy(found: Ready, target: Path) -> None:
    """Copy a workflow with its files, and those that it borrows from another one beside it."""
    shutil.copytree(found.folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    text = found.file.read_text(encoding="utf-8")
    for borrowed in dict.fromkeys(re.findall(r"\.\./[\w-]+/[\w.-]+", text)):
        source = found.folder / borrowed
        place = target / source.name
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, place)
        text = text.replace(borrowed, f"./{source.name}")
    (target / found.file.name).write_text(text, encoding="utf-8")


def _find(name: str) -> Ready:
    from olive_like.diagnostics.nearest import did_you_mean

    table = ready_made()
    if name not in table:
        raise WorkflowError(f"there is no workflow {name!r}", did_you_mean(name, list(table)) or "See the list.")
    return table[name]
