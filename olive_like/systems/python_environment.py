"""Another Python interpreter on this machine, for libraries that cannot live together in one environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

import olive_like
from olive_like.marks import LocalPath, NotInKey
from olive_like.systems.base import Launch, Machine, Trouble
from olive_like.systems.local import Local, options_of

# What a worker imports before any pass does.
_NEEDED = ("blake3", "psutil", "pydantic")
_DISTRIBUTION = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.(?:dist|egg)-info\Z")


class PythonEnvironment(Local):
    """Run in another interpreter of this machine, with the libraries that are installed there."""

    class Config(Local.Config):
        python_environment_path: LocalPath = Field(
            ..., description="The environment's folder, its `bin` folder, or the interpreter itself."
        )
        environment_variables: Annotated[Mapping[str, str], NotInKey()] = Field(
            {}, description="Variables set for the workers."
        )
        prepend_to_path: Annotated[list[str], NotInKey()] = Field([], description="Folders put before PATH.")

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        """The versions of libraries are those of the other environment."""
        return {**super().traits(config), "tools": installed(interpreter(config.python_environment_path))}

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        local = super().launch(config, machine, jobs)
        python = interpreter(config.python_environment_path)
        path = os.pathsep.join([*config.prepend_to_path, str(python.parent), os.environ.get("PATH", os.defpath)])
        env = {"PATH": path, "PYTHONPATH": os.pathsep.join(own_source()), **config.environment_variables}
        return Launch(
            command=(str(python), "-P", "-m"),
            env=env,
            devices=local.devices,
            threads=local.threads,
            slots=local.slots,
            options=options_of(config),
        )

    @classmethod
    def troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        python = interpreter(config.python_environment_path)
        if not os.access(python, os.X_OK):
            return [Trouble(f"there is no interpreter {python}", "Make it: `python3 -m venv FOLDER`.")]
        there = installed(python)
        missing = [name for name in _NEEDED if name not in there]
        if not own_source() and "olive-like" not in there:
            missing = ["olive-like"]
        if missing:
            command = f"{python} -m pip install {' '.join(missing)}"
            return [Trouble(f"{python} lacks {', '.join(missing)}", f"Install: `{command}`.")]
        return super().troubles(config, machine)


def interpreter(path: Path) -> Path:
    """The interpreter that a path means: itself, in the folder, or in the folder's `bin`."""
    for candidate in (path / "bin" / "python", path / "python", path / "python3"):
        if candidate.exists():
            return candidate
    return path if path.is_file() else path / "python"


def own_source() -> list[str]:
    """The folder of this package where it is a checkout; nothing where it is installed among others."""
    root = Path(olive_like.__file__).parents[1]
    return [] if root.name in ("site-packages", "dist-packages") else [str(root)]


def installed(python: Path) -> dict[str, str]:
    """Distributions of an interpreter's environment and their versions, read from its folders."""
    return {
        match["name"].lower().replace("_", "-"): match["version"]
        for folder in _package_folders(python.parent.parent)
        for entry in sorted(os.listdir(folder))
        if (match := _DISTRIBUTION.match(entry))
    }


def _package_folders(root: Path) -> Iterator[Path]:
    for pattern in ("lib/python3*/site-packages", "lib/python3*/dist-packages"):
        yield from sorted(root.glob(pattern))
