"""A container on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from blake3 import blake3
from pydantic import Field

from olive_like.canonical import digest
from olive_like.marks import LocalPath, NotInKey
from olive_like.redact import secrets
from olive_like.systems.base import Launch, Machine, Trouble
from olive_like.systems.local import Local, options_of
from olive_like.systems.python_environment import own_source


class Docker(Local):
    """Run inside an image, with the libraries that are installed there."""

    class Config(Local.Config):
        image_name: str = Field(..., min_length=1, description="The image, `name:tag`.")
        build_context_path: LocalPath | None = Field(None, description="Folder from which the image is built first.")
        dockerfile: str | None = Field(None, description="File in that folder; default: `Dockerfile`.")
        build_args: Mapping[str, str] = Field({}, description="Arguments of the build.")
        run_params: Mapping[str, str | int | float | bool | list[str]] = Field(
            {}, description="Options of `docker run`, `shm_size: 8g` say; a list repeats one."
        )
        volumes: Annotated[list[str], NotInKey()] = Field(
            [], description="More folders that passes see; home, the current and the temporary folder are there."
        )
        environment_variables: Annotated[Mapping[str, str], NotInKey()] = Field(
            {}, description="Variables set for the workers."
        )
        executable: Annotated[str, NotInKey()] = Field("docker", description="`docker`, or a program like it.")

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        """The versions of libraries are those of the image; its name stands for them, or what it is built of."""
        return {**super().traits(config), "tools": f"image {config.image_name}{_built_of(config)}"}

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        local = super().launch(config, machine, jobs)
        run = [*_run(config, local.threads), config.image_name, "python", "-P", "-m"]
        return Launch(
            command=tuple(run) if config.build_context_path is None else _built_first(config, run),
            env=secrets(config.environment_variables),
            devices=local.devices,
            threads=local.threads,
            slots=local.slots,
            options=options_of(config),
        )

    @classmethod
    def troubles(cls, config: Any, machine: Machine) -> list[Trouble]:
        return _no_program(config.executable) or super().troubles(config, machine)

    @classmethod
    def here(cls, machine: Machine) -> list[Trouble]:
        return _no_program("docker") or _no_engine("docker")


def _no_program(name: str) -> list[Trouble]:
    if shutil.which(name) is not None:
        return []
    hint = "Install it, or name another program with `executable`."
    return [Trouble(f"there is no program {name} on the PATH", hint)]


def _no_engine(name: str) -> list[Trouble]:
    """Whether what the program speaks to answers."""
    try:
        subprocess.run([name, "info"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return [Trouble(f"{name} is installed, but its engine does not answer", f"See what `{name} info` says.")]
    return []


def _run(config: Any, threads: int) -> list[str]:
    """`docker run` with the folders of this machine at their own places, so that every path means the same."""
    folders = [str(Path.home()), os.getcwd(), tempfile.gettempdir(), *own_source()]
    command = [config.executable, "run", "--rm", "--pid=host", f"--user={os.getuid()}:{os.getgid()}"]
    command += [f"--volume={folder}:{folder}" for folder in dict.fromkeys(folders)]
    command += [f"--volume={volume}" if ":" in volume else f"--volume={volume}:{volume}" for volume in config.volumes]
    command += [f"--workdir={os.getcwd()}", f"--env=OMP_NUM_THREADS={threads}"]
    command += [f"--env=PYTHONPATH={folder}" for folder in own_source()]
    hidden = secrets(config.environment_variables)  # handed on by their names: arguments can be seen by everybody
    command += [
        f"--env={name}" if name in hidden else f"--env={name}={value}"
        for name, value in config.environment_variables.items()
    ]
    if any(accelerator.device == "gpu" for accelerator in config.accelerators) and "gpus" not in config.run_params:
        command.append("--gpus=all")
    return command + _options(config.run_params)


def _options(parameters: Mapping[str, Any]) -> list[str]:
    """`{shm_size: 8g, init: true}` as `--shm-size=8g --init`."""
    options: list[str] = []
    for name, value in parameters.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            options += [flag] if value else []
        else:
            options += [f"{flag}={item}" for item in (value if isinstance(value, list) else [value])]
    return options


def _built_of(config: Any) -> str:
    """What makes the built image another one: every file of the folder, and what the build is told."""
    context = config.build_context_path
    if context is None or not context.is_dir():
        return ""
    files = {
        path.relative_to(context).as_posix(): blake3(path.read_bytes()).hexdigest()
        for path in sorted(context.rglob("*"))
        if path.is_file()
    }
    made_of = {"files": files, "dockerfile": config.dockerfile, "arguments": dict(config.build_args)}
    return f", built of {digest(made_of)[:20]}"


def _built_first(config: Any, run: list[str]) -> tuple[str, ...]:
    """A command that builds the image, quickly where nothing changed, and then runs it."""
    context = config.build_context_path
    build = [config.executable, "build", "--quiet", f"--tag={config.image_name}"]
    if config.dockerfile:
        build.append(f"--file={context / config.dockerfile}")
    build += [f"--build-arg={name}={value}" for name, value in config.build_args.items()]
    script = f'{shlex.join([*build, str(context)])} >&2 && exec {shlex.join(run)} "$@"'
    return ("sh", "-c", script, "sh")
