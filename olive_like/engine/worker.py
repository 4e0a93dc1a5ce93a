"""The process in which passes run: `python -m olive_like.engine.worker --fd N --engine PID`.

It starts light, gets jobs over its channel, runs one after the other and stays warm between them.
What a pass prints goes to the standard streams, which the engine reads into the pass's log.
A launcher's ranks are started with `--socket PATH`, or on other machines `--meet FILE`, instead of `--fd`;
rank 0 speaks for all of them.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from itertools import pairwise
from typing import TYPE_CHECKING, Any

# Looking for pydantic plug-ins among everything that is installed costs more than the rest of the start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

_SMALL, _FEW = 1 << 20, 16

if TYPE_CHECKING:
    from pathlib import Path

    from olive_like.artifacts import Artifact
    from olive_like.engine.channel import Channel
    from olive_like.engine.job import Job


def main(arguments: list[str]) -> int:
    """Connect, say who is here, and work until told to stop or hung up on."""
    options = _options(arguments)
    engine = int(options["--engine"])
    launched = "--fd" not in options
    from olive_like.engine import guard

    if not launched:
        guard.follow_parent(engine)
    elif engine:
        guard.lead_group()
    guard.start_guard(engine)
    from olive_like.engine.channel import Channel

    password = ""
    if "--meet" in options:
        channel, password = Channel.meet(options["--meet"])
    elif launched:
        channel = Channel.connect(options["--socket"])
    else:
        channel = Channel.inherited(int(options["--fd"]))
    rank, world_size = 0, 1
    if launched:
        from olive_like.engine.numbering import adopt

        rank, world_size = adopt(os.environ)
    worker = Worker(channel, rank, world_size)
    channel.send({"event": "hello", "pid": os.getpid(), "rank": worker.rank, "password": password})
    for message in channel.messages():
        if message["do"] == "setup":
            sys.path.extend(path for path in message["path"] if path not in sys.path)
        elif message["do"] == "run":
            worker.run(message["job"])
        elif message["do"] == "made":
            worker.made(message["output"], message["digest"])
        else:
            break
    _leave()
    return 0


def _leave() -> None:
    """Run what libraries registered for the end, and spare the slow and crash-prone rest of a shutdown."""
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def _options(arguments: list[str]) -> dict[str, str]:
    """`--name value` pairs. Launchers add words of their own (`--local_rank=0`), which are left alone."""
    known = ("--fd", "--socket", "--meet", "--engine")
    return {name: value for name, value in pairwise(arguments) if name in known}


class Worker:
    """Runs jobs and tells the engine about them."""

    def __init__(self, channel: Channel, rank: int, world_size: int) -> None:
        from olive_like.engine.memory import Memory
        from olive_like.engine.resources import Sampler

        self.rank = rank
        self.world_size = world_size
        self._channel = channel
        self._memory = Memory()
        self._sampler = Sampler(lambda values: channel.send({"event": "beat", "rank": rank, **values}))

    def run(self, data: dict[str, Any]) -> None:
        """Do one job and answer with `done` or `failed`."""
        from olive_like.engine.job import Job

        job = Job.from_json(data)
        os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))  # not every launcher hands variables on
        self._memory.budget = job.memory
        self._sampler.start()
        try:
            answer = self._work(job)
        except BaseException as error:  # noqa: BLE001 - a pass may raise anything, SystemExit included; all is told
            self._memory.forget(str(job.output))
            answer = failure(error)
        resources = self._sampler.stop()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._channel.send({**answer, "rank": self.rank, "resources": resources})

    def _work(self, job: Job) -> dict[str, Any]:
        from olive_like.artifacts import to_json

        artifact = run_pass(job, self._emit, self._memory.get, self.rank, self.world_size)
        if self.rank != 0:
            return {"event": "done"}
        if self.world_size > 1:
            # The other ranks may still be writing: the engine says when all are through.
            self._channel.send({"event": "applied", "rank": 0})
            if self._channel.receive() != {"do": "seal"}:
                raise SystemExit("the engine hung up")
        if is_small(artifact.path):
            # The engine seals it beside the next pass: the disk takes longer than anything else here.
            return {"event": "done", "artifact": to_json(artifact), "kept": self._memory.keeps(str(job.output))}
        manifest = seal_result(artifact)
        self._memory.publish(str(job.output), manifest["digest"])
        return {"event": "done", "manifest": manifest}

    def made(self, output: str, digest: str) -> None:
        """The engine has sealed what an earlier job made."""
        self._memory.publish(output, digest)

    def _emit(self, kind: str, values: Any) -> None:
        if self.rank == 0:
            self._channel.send({"event": kind, **values})


def run_pass(job: Job, emit: Any, memory: Any, rank: int = 0, world_size: int = 1) -> Artifact:
    """Run the pass that a job names, in this process."""
    step, config = job.load()
    context = job.context(rank, world_size)
    context.emit = emit
    context.memory = memory
    return step.apply(job.inputs, config, context)


def seal_result(artifact: Artifact) -> dict[str, Any]:
    """Hash what a pass made and make it durable; the manifest in the form in which it travels."""
    from olive_like.store.seal import seal

    refs = {name: str(ref.digest) for name, ref in artifact.refs.items()}
    return seal(artifact.path, artifact.kind, artifact.attributes, refs).to_json()


def is_small(folder: Path) -> bool:
    """Whether a result is so small that hashing it is nothing."""
    size = count = 0
    for place, _, names in os.walk(folder):
        for name in names:
            size += os.lstat(os.path.join(place, name)).st_size
            count += 1
            if size > _SMALL or count > _FEW:
                return False
    return True


def failure(error: BaseException) -> dict[str, Any]:
    """What went wrong, as the engine needs it: in one line for the user, in full for the log."""
    from olive_like.errors import OliveLikeError

    known = isinstance(error, OliveLikeError)
    name = type(error).__name__
    text = error.message if isinstance(error, OliveLikeError) else str(error)
    return {
        "event": "failed",
        "type": name,
        "message": text if known else f"{name}: {_first_line(text)}" if text else name,
        "hint": error.hint if isinstance(error, OliveLikeError) else hint_for(error),
        "known": known,
        "traceback": "".join(traceback.format_exception(error)),
    }


def hint_for(error: BaseException) -> str:
    """What to do about the troubles that meet every kind of pass."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Make room (`olive-like cache gc --max-size 50GB`), or put the cache elsewhere: cache_dir."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's for a GPU
        return "Try smaller batches, a shorter sequence, or a system with more memory."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"Install what brings the module {error.name}."
    return ""


def _first_line(text: str) -> str:
    first, _, rest = text.strip().partition("\n")
    return f"{first} …" if rest.strip() else first


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
