"""Run one failed pass again: `python -m olive_like.engine.replay FOLDER`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from olive_like.engine.job import Job
from olive_like.engine.worker import run_pass
from olive_like.errors import OliveLikeError
from olive_like.redact import restore


def replay(folder: Path) -> Path:
    """Run the pass of a bundle in this process, into a fresh `output` folder beside it."""
    document = {**_read(folder / "job.json"), "config": _read(folder / "config.json")}
    job = Job.from_json(restore(document, os.environ))
    output, scratch = folder.absolute() / "output", folder.absolute() / "scratch"
    for place in (output, scratch):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    run_pass(replace(job, output=output, scratch=scratch), _say, lambda _, load: load())
    return output


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _say(kind: str, values: Any) -> None:
    print(kind, json.dumps(values, default=str), file=sys.stderr)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m olive_like.engine.replay FOLDER", file=sys.stderr)
        return 2
    try:
        print(replay(Path(arguments[0])))
    except OliveLikeError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
