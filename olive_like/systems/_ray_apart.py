"""A worker on a machine that does not see the cache folder: what a pass reads and makes travels through Ray.

This process, on the engine's machine, is the worker that the engine talks to. It passes the talk on to one that
runs in the cluster, and where that would find no file it brings the file along.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import ray

from olive_like.marks import marked_files
from olive_like.systems._ray_worker import die_with_parent

_CHUNK = 16 << 20
_CODE = ("script", "script_dir")  # attributes that are paths: a user's code that builds the model
_NAME = f"olive-like-ray-place-{os.getuid()}-"

Message = dict[str, Any]


def serve(module: str, arguments: list[str], asked: Mapping[str, Any]) -> None:
    """Be the engine's worker until it hangs up."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(arguments[arguments.index("--socket") + 1])
    engine = Line(sock)
    place = ray.remote(**asked)(Place).remote(module)
    folder = ray.get(place.folder.remote())
    engine.send({"event": "hello", "pid": os.getpid(), "rank": 0, "password": ""})
    outputs = (f"output-{number}" for number in count(1))
    for message in engine.messages():
        if message["do"] == "stop":
            break
        if message["do"] == "run":
            _Errand(place, folder, next(outputs), engine.send, message["job"]).run()
    ray.get(place.close.remote())


class Line:
    """JSON, a message a line, over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb")

    def send(self, message: Mapping[str, Any]) -> None:
        self._socket.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def messages(self) -> Iterator[Message]:
        for line in self._file:
            yield json.loads(line)


class _Errand:
    """One job, done in the cluster.

    No other job of its worker has an output of the same name: what a pass keeps loaded goes by its output's path.
    """

    def __init__(
        self, place: Any, folder: str, output: str, say: Callable[[Mapping[str, Any]], None], job: Message
    ) -> None:
        self._place, self._folder, self._output, self._say, self._job = place, folder, output, say, job
        self._known: dict[str, Message] = {}  # artifacts by digest, as they are here
        self._home: dict[str, str] = {}  # where a user's code is here, by where it is there

    def run(self) -> None:
        """Bring what is needed, listen, and take home what was made."""
        job = self._job
        ray.get(self._place.clear.remote([self._output, "scratch"]))
        there = {
            **job,
            "inputs": [self._artifact(artifact) for artifact in job["inputs"]],
            "data": {name: self._artifact(artifact) for name, artifact in job["data"].items()},
            "config": self._config(),
            "output": f"{self._folder}/{self._output}",
            "scratch": f"{self._folder}/scratch",
        }
        for said in self._place.run.remote(there):
            message: Message = ray.get(said)
            self._say(self._done(message) if message["event"] == "done" else message)
        ray.get(self._place.drop.remote(self._output))

    def _artifact(self, artifact: Message) -> Message:
        self._known[str(artifact["digest"])] = artifact
        refs = {name: self._artifact(ref) for name, ref in artifact["refs"].items()}
        path = self._bring(artifact["path"], str(artifact["digest"]))
        return {**artifact, "path": path, "attributes": self._attributes(artifact["attributes"]), "refs": refs}

    def _attributes(self, attributes: Mapping[str, Any]) -> Message:
        """The attributes, with the user's code where it will be."""
        paths = {name: attributes.get(name) for name in _CODE}
        code = {name: str(path) for name, path in paths.items() if path and os.path.exists(path)}
        moved = {name: self._bring_as_it_is(path) for name, path in code.items()}
        self._home |= {moved[name]: path for name, path in code.items()}
        return {**attributes, **moved}

    def _config(self) -> Any:
        """The settings, with the files that they name where they will be."""
        module, _, name = self._job["target"].partition(":")
        cls: Any = import_module(module)
        for part in name.split("."):
            cls = getattr(cls, part)
        files = {str(file.path) for file in marked_files(cls.Config.model_validate(self._job["config"]))}
        moved = {path: self._bring_as_it_is(path) for path in files if os.path.exists(path)}
        return _replaced(self._job["config"], moved)

    def _bring_as_it_is(self, path: str) -> str:
        """Copy what has no digest yet, again if it has changed since."""
        return self._bring(path, blake2b(_stamp(path)).hexdigest())

    def _bring(self, path: str, name: str) -> str:
        """Copy a file or a folder there, unless it was before; where it is then."""
        target = f"inputs/{name}/{Path(path).name}"
        if not ray.get(self._place.has.remote(target)):
            for file in _files(Path(path)):
                self._bring_file(file, f"new/{file.relative_to(Path(path).parent)}")
            ray.get(self._place.settle.remote(target))
        return f"{self._folder}/{target}"

    def _bring_file(self, file: Path, name: str) -> None:
        mode = file.stat().st_mode & 0o777
        with file.open("rb") as content:
            chunk = content.read(_CHUNK)
            while True:
                ray.get(self._place.write.remote(name, chunk, mode))
                self._beat()
                if not (chunk := content.read(_CHUNK)):
                    return

    def _done(self, message: Message) -> Message:
        """Its result, here; the engine hashes it as it would any other."""
        output = Path(self._job["output"])
        for name, size, mode in ray.get(self._place.files.remote(self._output)):
            file = output / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as target:
                for at in range(0, size, _CHUNK):
                    target.write(ray.get(self._place.read.remote(f"{self._output}/{name}", at)))
                    self._beat()
            file.chmod(mode | 0o200)
        made = message.pop("manifest", None) or message["artifact"]
        refs = {name: ref["digest"] if isinstance(ref, dict) else ref for name, ref in made["refs"].items()}
        artifact = {
            "kind": made["kind"],
            "path": str(output),
            "attributes": _replaced(made["attributes"], self._home),
            "refs": {name: self._known[digest] for name, digest in refs.items()},
            "digest": None,
        }
        return {**message, "artifact": artifact, "kept": False}

    def _beat(self) -> None:
        self._say({"event": "beat", "rank": 0, "rss_bytes": 0, "gpu_bytes": None})


class Place:
    """A folder and a worker on a machine of the cluster."""

    def __init__(self, module: str) -> None:
        _tidy()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_NAME}{os.getpid()}-"))
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", module, "--fd", str(theirs.fileno()), "--engine", str(os.getpid())]
            self._worker = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], start_new_session=True, preexec_fn=die_with_parent
            )
        self._line = Line(ours)
        next(self._line.messages())  # it says hello

    def folder(self) -> str:
        """Where everything is kept."""
        return str(self._folder)

    def clear(self, names: list[str]) -> None:
        """Make folders anew."""
        for name in names:
            self.drop(name)
            (self._folder / name).mkdir()

    def drop(self, name: str) -> None:
        """Remove a folder."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def has(self, name: str) -> bool:
        """Whether something was brought before."""
        return (self._folder / name).exists()

    def write(self, name: str, chunk: bytes, mode: int) -> None:
        """Put a part of a file behind those that came before."""
        file = self._folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as target:
            target.write(chunk)
        file.chmod(mode | 0o600)

    def settle(self, name: str) -> None:
        """What was written is whole, and has a name from now on."""
        target, new = self._folder / name, self._folder / "new"
        target.parent.mkdir(parents=True)
        new.mkdir(exist_ok=True)  # an empty folder was brought, of which nothing was written
        found = next(new.iterdir(), None)
        found.rename(target) if found else target.mkdir()

    @ray.method(num_returns="streaming")
    def run(self, job: Message) -> Iterator[Message]:
        """Do a job, and tell all that is said meanwhile."""
        self._line.send({"do": "run", "job": job})
        for message in self._line.messages():
            yield message
            if message["event"] in ("done", "failed"):
                return
        raise RuntimeError(f"the worker ended with exit code {self._worker.wait()}")

    def files(self, name: str) -> list[tuple[str, int, int]]:
        """What is in a folder: path, size and mode."""
        root = self._folder / name
        stats = [(file, file.stat()) for file in _files(root)]
        return [(str(file.relative_to(root)), stat.st_size, stat.st_mode & 0o777) for file, stat in stats]

    def read(self, name: str, at: int) -> bytes:
        """A part of a file."""
        with (self._folder / name).open("rb") as file:
            file.seek(at)
            return file.read(_CHUNK)

    def close(self) -> None:
        """Leave nothing behind."""
        self._worker.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _tidy() -> None:
    """Remove what a place that was killed has left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_NAME}*"):
        pid = int(folder.name.removeprefix(_NAME).partition("-")[0])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for place, folders, names in os.walk(path, followlinks=True):
        folders.sort()
        yield from (Path(place) / name for name in sorted(names))


def _stamp(path: str) -> bytes:
    """What changes with a file's content, near enough for as long as a worker lives."""
    stats = [(str(file), file.stat()) for file in _files(Path(path))]
    return repr([path, *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)]).encode()


def _replaced(value: Any, moved: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, moved) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, moved) for item in value]
    return moved.get(value, value) if isinstance(value, str) else value
