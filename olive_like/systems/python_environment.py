"""Another Python interpreter on this machine, for libraries that cannot live together in one environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from blake3 import blake3
from pydantic import Field, model_validator

import olive_like
from olive_like.marks import LocalPath, NotInKey
from olive_like.systems.base import Launch, Machine, Trouble
from olive_like.systems.local import Local, options_of
from olive_like.systems.make_environment import NEEDED

_HALF_AN_HOUR = 1800.0
_DISTRIBUTION = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.(?:dist|egg)-info\Z")


class PythonEnvironment(Local):
    """Run in another interpreter of this machine, with the libraries that are installed there."""

    class Config(Local.Config):
        python_environment_path: LocalPath | None = Field(
            None, description="The environment's folder, its `bin` folder, or the interpreter itself."
        )
        requirements_file: LocalPath | None = Field(
            None, description="In place of a path: what pip installs into an environment that is made for it and kept."
        )
        environment_variables: Annotated[Mapping[str, str], NotInKey()] = Field(
            {}, description="Variables set for the workers."
        )
        prepend_to_path: Annotated[list[str], NotInKey()] = Field([], description="Folders put before PATH.")

        @model_validator(mode="after")
        def _one_of_two(self) -> PythonEnvironment.Config:
            if (self.python_environment_path is None) == (self.requirements_file is None):
                raise ValueError("name either `python_environment_path` or `requirements_file`")
            return self

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        """The versions of libraries are those of the other environment; a requirements file stands for them."""
        if config.requirements_file is not None:
            return {**super().traits(config), "tools": f"requirements {_digest(config.requirements_file)}"}
        return {**super().traits(config), "tools": installed(interpreter(config.python_environment_path))}

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        local = super().launch(config, machine, jobs)
        command: tuple[str, ...]
        if config.requirements_file is not None:
            folder = _made_for(config.requirements_file)
            python, command = folder / "bin" / "python", _made_first(folder, config.requirements_file)
        else:
            python = interpreter(config.python_environment_path)
            command = (str(python), "-P", "-m")
        path = os.pathsep.join([*config.prepend_to_path, str(python.parent), os.environ.get("PATH", os.defpath)])
        env = {"PATH": path, "PYTHONPATH": os.pathsep.join(own_source()), **config.environment_variables}
        return Launch(
            command=command,
            env=env,
            patience=_HALF_AN_HOUR if config.requirements_file is not None else 300.0,
            devices=local.devices,
            threads=local.threads,
            slots=local.slots,
            options=options_of(config),
        )

    @classmethod
    def here(cls, machine: Machine) -> list[Trouble]:
        return []

    @classmethod
    def troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        if config.requirements_file is not None:
            if not config.requirements_file.exists():
                return [
                    Trouble(f"there is no file {config.requirements_file}", "It has a requirement of pip's a line.")
                ]
            return super().troubles(config, machine)
        python = interpreter(config.python_environment_path)
        if not os.access(python, os.X_OK):
            return [Trouble(f"there is no interpreter {python}", "Make it: `python3 -m venv FOLDER`.")]
        there = installed(python)
        missing = [name for name in NEEDED if name not in there]
        if not own_source() and "olive-like" not in there:
            missing = ["olive-like"]
        if missing:
            command = f"{python} -m pip install {' '.join(missing)}"
            return [Trouble(f"{python} lacks {', '.join(missing)}", f"Install: `{command}`.")]
        return super().troubles(config, machine)


def _digest(requirements: Path) -> str:
    """Of what the file says; that of nothing where it is not there yet."""
    return blake3(requirements.read_bytes() if requirements.exists() else b"").hexdigest()


def _made_for(requirements: Path) -> Path:
    """The folder of the environment that is made of a requirements file, for this Python."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    tag = f"py{sys.version_info.major}.{sys.version_info.minor}"
    return base / "olive-like-environments" / f"{tag}-{_digest(requirements)[:20]}"


def _made_first(folder: Path, requirements: Path) -> tuple[str, ...]:
    """A command that makes the environment, quickly where it is there, and then runs in it."""
    also = NEEDED if own_source() else (*NEEDED, f"olive-like=={olive_like.__version__}")
    return (
        *(sys.executable, "-P", "-m", "olive_like.systems.make_environment", f"--requirements={requirements}"),
        *(f"--folder={folder}", f"--also={' '.join(also)}", "-m"),
    )


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
