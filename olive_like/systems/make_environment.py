"""`python -m olive_like.systems.make_environment --requirements=FILE --folder=DIR -m MODULE …`

A module, run in an environment that is made of a requirements file first, unless it is there already.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

# What a worker imports before any pass does.
NEEDED = ("blake3", "psutil", "pydantic")


def main(arguments: list[str]) -> int:
    """Make the environment, then become the module in it."""
    at = arguments.index("-m")
    options = dict(argument.removeprefix("--").split("=", 1) for argument in arguments[:at])
    folder = Path(options["folder"])
    make(folder, Path(options["requirements"]), options.get("also", "").split())
    python = folder / "bin" / "python"
    sys.stdout.flush()
    os.execv(python, [str(python), "-P", *arguments[at:]])


def make(folder: Path, requirements: Path, also: list[str]) -> None:
    """Of several processes one makes it and the others wait; what was left half made is made anew."""
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    ready = folder / ".ready"
    with folder.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ready.exists():
            return
        print(f"making the environment {folder} of {requirements}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
        subprocess.run([*command, "--requirement", str(requirements), *also], check=True)
        ready.touch()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
