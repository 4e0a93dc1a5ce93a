"""Another interpreter, and a container: what they are started with, and what goes into keys."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import olive_like
from olive_like.canonical import digest
from olive_like.graph.keys import static_part
from olive_like.graph.model import Node
from olive_like.passes.pretend.null import Null
from olive_like.systems import registry
from olive_like.systems.base import Machine
from olive_like.systems.docker import Docker
from olive_like.systems.python_environment import PythonEnvironment, installed, interpreter

MACHINE = Machine(cores=4, memory=8 << 30)


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """What an environment's folder looks like, around this very interpreter."""
    root = tmp_path / "env"
    packages = root / "lib" / "python3.11" / "site-packages"
    for name in ("blake3-1.0.5", "psutil-6.0.0", "pydantic-2.12.0", "onnxruntime-1.24.1"):
        (packages / f"{name}.dist-info").mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(sys.executable)
    return root


@pytest.mark.parametrize("name", ["PythonEnvironment", "python_environment", "Docker", "docker", "LocalSystem"])
def test_names(name: str) -> None:
    assert registry.load(name).Config.model_fields["accelerators"]


@pytest.mark.parametrize("part", ["", "bin", "bin/python"])
def test_the_path_may_be_folder_bin_or_interpreter(venv: Path, part: str) -> None:
    assert interpreter(venv / part) == venv / "bin" / "python"


def test_the_worker_starts_in_the_other_interpreter(venv: Path) -> None:
    config = PythonEnvironment.Config(
        python_environment_path=venv, environment_variables={"COLOUR": "red"}, prepend_to_path=["/opt/first"], slots=2
    )
    launch = PythonEnvironment.launch(config, MACHINE)
    assert launch.command == (str(venv / "bin" / "python"), "-P", "-m")
    assert launch.env["PATH"].split(os.pathsep)[:2] == ["/opt/first", str(venv / "bin")]
    assert launch.env["COLOUR"] == "red"
    assert (launch.slots, launch.threads) == (2, 2)
    code = "import os, olive_like; print(os.environ['COLOUR'])"
    done = subprocess.run(
        [*launch.command[:-1], "-c", code], env={**os.environ, **launch.env}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "red"


def test_versions_of_the_other_environment_go_into_the_key(venv: Path) -> None:
    config = PythonEnvironment.Config(python_environment_path=venv)
    assert installed(interpreter(venv))["onnxruntime"] == "1.24.1"

    class Tooled(Null):
        tools = ("onnxruntime",)

    node = Node("n", Tooled, "Null", Null.Config(), ())

    def key() -> str:
        return digest(static_part(node, 0, PythonEnvironment.traits(config), lambda _: ""))

    before = key()
    packages = venv / "lib" / "python3.11" / "site-packages"
    (packages / "onnxruntime-1.24.1.dist-info").rename(packages / "onnxruntime-1.25.0.dist-info")
    assert key() != before


def test_what_an_environment_lacks_is_said(venv: Path, tmp_path: Path) -> None:
    def troubles(path: Path) -> str:
        config = PythonEnvironment.Config(python_environment_path=path)
        return " ".join(f"{t.message} {t.hint}" for t in PythonEnvironment.troubles(config, MACHINE))

    assert troubles(venv) == ""
    assert "there is no interpreter" in troubles(tmp_path / "nowhere")
    (venv / "lib" / "python3.11" / "site-packages" / "blake3-1.0.5.dist-info").rmdir()
    assert "pip install blake3" in troubles(venv)


def test_container_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = Docker.Config(
        image_name="tools:1",
        run_params={"shm_size": "8g", "init": True, "privileged": False},
        volumes=["/data", "/a:/b"],
        accelerators=[{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}],
    )
    command = Docker.launch(config, MACHINE).command
    assert command[:3] == ("docker", "run", "--rm")
    assert command[-4:] == ("tools:1", "python", "-P", "-m")
    for option in (
        f"--volume={tmp_path}:{tmp_path}",
        "--volume=/data:/data",
        "--volume=/a:/b",
        "--shm-size=8g",
        "--init",
        "--gpus=all",
    ):
        assert option in command
    assert not any("privileged" in part for part in command)
    assert Docker.traits(config)["tools"] == "image tools:1"


def test_an_image_is_built_first(tmp_path: Path) -> None:
    recorder = tmp_path / "engine"
    recorder.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {shlex.quote(str(tmp_path / "calls"))}\n')
    recorder.chmod(0o755)
    config = Docker.Config(
        image_name="mine", build_context_path=tmp_path / "a folder", dockerfile="Dev file", executable=str(recorder)
    )
    subprocess.run([*Docker.launch(config, MACHINE).command, "module", "an argument"], check=True)
    build, run = (tmp_path / "calls").read_text().splitlines()
    assert build == f"build --quiet --tag=mine --file={tmp_path}/a folder/Dev file {tmp_path}/a folder"
    assert run.startswith("run --rm")
    assert run.endswith("mine python -P -m module an argument")


def test_an_image_that_is_built_is_known_by_what_it_is_built_of(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM python:3.12")
    config = Docker.Config(image_name="mine", build_context_path=tmp_path)
    seen = [Docker.traits(config)["tools"]]
    (tmp_path / "sub" / "requirements.txt").write_text("torch")
    seen.append(Docker.traits(config)["tools"])
    seen.append(Docker.traits(config.model_copy(update={"build_args": {"a": "1"}}))["tools"])
    assert len(set(seen)) == 3
    assert all(text.startswith("image mine, built of ") for text in seen)


def test_secrets_for_a_container_are_in_no_argument() -> None:
    launch = Docker.launch(
        Docker.Config(image_name="x", environment_variables={"HF_TOKEN": "hf_abcdefgh", "LEVEL": "3"}), MACHINE
    )
    assert {"--env=HF_TOKEN", "--env=LEVEL=3"} <= set(launch.command)
    assert "hf_abcdefgh" not in " ".join(launch.command)
    assert launch.env == {"HF_TOKEN": "hf_abcdefgh"}


def test_no_container_engine() -> None:
    config = Docker.Config(image_name="x", executable="no-such-engine")
    assert "no-such-engine" in Docker.troubles(config, MACHINE)[0].message


def test_a_workflow_runs_in_another_interpreter(tmp_path: Path) -> None:
    workflow = {
        "input_model": {"type": "Null"},
        "systems": {"other": {"type": "PythonEnvironment", "python_environment_path": sys.prefix}},
        "passes": {"a": {"type": "Null", "config": {"bytes": 10}}},
        "host": "other",
        "output_dir": str(tmp_path / "out"),
        "cache_dir": str(tmp_path / "cache"),
    }
    result = olive_like.run(workflow)
    assert result.ok
    assert (tmp_path / "out" / "null.bin").stat().st_size == 10  # one output, put where Olive puts it


def test_an_environment_of_a_requirements_file(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("onnxruntime==1.24.1\n")
    config = PythonEnvironment.Config(requirements_file=file)
    launch = PythonEnvironment.launch(config, MACHINE)
    assert launch.command[3:5] == ("olive_like.systems.make_environment", f"--requirements={file}")
    assert launch.command[-1] == "-m"
    before = PythonEnvironment.traits(config)["tools"]
    file.write_text("onnxruntime==1.25.0\n")
    assert PythonEnvironment.traits(config)["tools"] != before
    assert PythonEnvironment.launch(config, MACHINE).command != launch.command
    file.unlink()
    assert "there is no file" in PythonEnvironment.troubles(config, MACHINE)[0].message
    for both in ({}, {"requirements_file": file, "python_environment_path": tmp_path}):
        with pytest.raises(ValidationError, match="either"):
            PythonEnvironment.Config(**both)


@pytest.mark.heavy
def test_it_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(tmp_path), "iniconfig"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no package index can be reached")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "requirements.txt").write_text("iniconfig\n")
    system = {"type": "PythonEnvironment", "requirements_file": str(tmp_path / "requirements.txt")}
    made: list[float] = []
    for value in (1, 2):
        workflow = {
            "input_model": {"type": "Null"},
            "systems": {"other": system},
            "passes": {"a": {"type": "Null", "value": value}},
            "system": "other",
            "output_dir": str(tmp_path / "out"),
            "cache_dir": str(tmp_path / "cache"),
        }
        assert olive_like.run(workflow).passes["a"].status == "ran"
        (ready,) = tmp_path.glob("home/olive-like-environments/*/.ready")
        made.append(ready.stat().st_mtime)
    assert made[0] == made[1]
    assert list(ready.parent.glob("lib/python3*/site-packages/iniconfig-*"))
    assert not list(ready.parent.glob("lib/python3*/site-packages/torch"))
