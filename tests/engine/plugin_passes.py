"""Passes that misbehave, brought to the registry as a third party's distribution would bring them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Annotated, Any

from pydantic import Field

from olive_like.artifacts import Artifact, NullArtifact
from olive_like.errors import PassError
from olive_like.passes.base import Context, Pass, PassConfig
from olive_like.passes.fields import NotInKey
from olive_like.systems.base import Launch, Machine, System, SystemConfig


class _Base(Pass):
    accepts = Artifact
    produces = NullArtifact
    arity = (0, None)
    traits = ("device",)

    def made(self, context: Context, text: str = "made") -> NullArtifact:
        (context.output / "text.txt").write_text(text)
        return NullArtifact(context.output)


class Die(_Base):
    """End the worker with a signal or an exit code; after `times` times, work."""

    class Config(PassConfig):
        signal: str | None = Field(None, description="Signal to send to oneself.")
        exit: int | None = Field(None, description="Exit code to leave with, without a word.")
        tally: Annotated[str | None, NotInKey()] = Field(None, description="File that counts the attempts.")
        times: int = Field(1 << 30, description="Attempts that die.")

    def run(self, inputs: list[Artifact], config: Config, context: Context) -> NullArtifact:
        if config.tally:
            with open(config.tally, "a") as file:
                file.write("x")
        if not config.tally or os.path.getsize(config.tally) <= config.times:
            if config.signal:
                os.kill(os.getpid(), getattr(signal, config.signal))
            os._exit(config.exit or 0)
        return self.made(context)


class Raise(_Base):
    """Raise something that is no PassError."""

    class Config(PassConfig):
        what: str = Field("ValueError", description="Built-in exception to raise.")
        message: str = Field("bad luck", description="Its text.")

    def run(self, inputs: list[Artifact], config: Config, context: Context) -> NullArtifact:
        import builtins

        raise getattr(builtins, config.what)(config.message)


class Parent(_Base):
    """Start processes that do not end by themselves, tell their ids, and wait."""

    class Config(PassConfig):
        pids: Annotated[str, NotInKey()] = Field(description="File to write the ids of the processes to.")
        stubborn: bool = Field(False, description="Whether the children ignore SIGTERM and SIGINT.")

    def run(self, inputs: list[Artifact], config: Config, context: Context) -> NullArtifact:
        ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN);signal.signal(signal.SIGINT, signal.SIG_IGN);"
        code = f"import signal,time;{ignore if config.stubborn else ''}print('up', flush=True);time.sleep(600)"
        children = []
        for own_session in (False, True):
            child = subprocess.Popen(
                [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=own_session
            )
            assert child.stdout is not None
            child.stdout.readline()
            children.append(child.pid)
        draft = config.pids + ".new"
        with open(draft, "w") as file:
            file.write(" ".join(map(str, [os.getpid(), *children])))
        os.replace(draft, config.pids)
        time.sleep(600)
        return self.made(context)


class Checkpoints(_Base):
    """Count to ten in steps, and go on from where the last attempt came to."""

    class Config(PassConfig):
        seconds: Annotated[float, NotInKey()] = Field(0.2, description="Per step.")
        trace: Annotated[str, NotInKey()] = Field(description="File that gets every step that is done.")

    def run(self, inputs: list[Artifact], config: Config, context: Context) -> NullArtifact:
        checkpoint = context.scratch / "step"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for step in range(done, 10):
            time.sleep(config.seconds)
            with open(config.trace, "a") as file:
                file.write(f"{step} ")
            draft = context.scratch / "step.new"
            draft.write_text(str(step + 1))
            draft.replace(checkpoint)
            context.progress(step + 1, 10, loss=1 / (step + 1))
        return self.made(context, "ten")


class Talk(_Base):
    """Say a text in every way that a pass can."""

    class Config(PassConfig):
        text: str = Field("hello", description="What to say.")
        variable: str | None = Field(None, description="Environment variable to say as well.")
        fail: bool = Field(False, description="Whether to fail with it.")
        crash: bool = Field(False, description="Whether to raise something unforeseen with it.")

    def run(self, inputs: list[Artifact], config: Config, context: Context) -> NullArtifact:
        said = config.text + os.environ.get(config.variable or "", "")
        print("out", said)
        print("err", said, file=sys.stderr)
        subprocess.run([sys.executable, "-c", "import sys; print('child', sys.stdin.read())"], input=said.encode())
        for start in range(0, len(said), 5):  # a secret that comes in pieces
            os.write(1, said[start : start + 5].encode())
            time.sleep(0.01)
        os.write(1, b"\n")
        context.note(said)
        context.warn(said)
        context.metric("words", 3)
        context.progress(1, 2, loss=0.5)
        if config.fail:
            raise PassError(f"failed with {said}", f"look at {said}")
        if config.crash:
            raise RuntimeError(f"crashed with {said}")
        return self.made(context)


class Remember(_Base):
    """Keep a value loaded for the next pass, and say whether the last one's was still there."""

    class Config(PassConfig):
        value: int = Field(0, description="What the result is made of.")

    def run(self, inputs: list[Artifact], config: Config, context: Context) -> NullArtifact:
        loads = []
        for artifact in inputs:
            context.loaded(f"text:{artifact.digest}", lambda a=artifact: loads.append(a.digest) or Held(b"x"))
        context.metric("loads", len(loads))
        context.keep(f"text:{context.output}", Held(b"x" * 1000))
        return self.made(context, str(config.value))


class Held:
    """Something that says its size as a torch module does."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def parameters(self) -> list[Any]:
        return [self]

    def buffers(self) -> list[Any]:
        return []

    def numel(self) -> int:
        return len(self.data)

    def element_size(self) -> int:
        return 1


class Timed(_Base):
    """Measure, and so run alone; says when it began and ended."""

    measures = True

    class Config(PassConfig):
        trace: Annotated[str, NotInKey()] = Field(description="File that gets the times.")
        value: int = Field(0, description="Anything.")

    def run(self, inputs: list[Artifact], config: Config, context: Context) -> NullArtifact:
        began = time.time()
        time.sleep(0.3)
        with open(config.trace, "a") as file:
            file.write(f"{type(self).__name__} {began} {time.time()}\n")
        return self.made(context)


class Untimed(Timed):
    """The same beside others."""

    measures = False


class Spoil(_Base):
    """Change a file that the key stands on, while running."""

    arity = (1, 1)

    class Config(PassConfig):
        path: Annotated[str, NotInKey()] = Field(description="File to write to.")

    def run(self, model: Artifact, config: Config, context: Context) -> NullArtifact:
        with open(config.path, "a") as file:
            file.write("changed")
        return self.made(context)


class Ranks(_Base):
    """Run as several ranks; each writes its own file, the last one to be ready later than the others."""

    distributed = True

    class Config(PassConfig):
        fail_rank: int | None = Field(None, description="Rank that fails.")
        kill_rank: int | None = Field(None, description="Rank that kills itself.")
        hang_rank: int | None = Field(None, description="Rank that hangs.")
        pids: Annotated[str, NotInKey()] = Field(description="Folder for a file with each rank's process id.")

    def run(self, inputs: list[Artifact], config: Config, context: Context) -> NullArtifact:
        with open(f"{config.pids}/{context.rank}", "w") as file:
            file.write(str(os.getpid()))
        time.sleep(0.3 * context.rank)
        if context.rank == config.fail_rank:
            raise PassError("this rank fails")
        if context.rank == config.kill_rank:
            os.kill(os.getpid(), signal.SIGKILL)
        if context.rank == config.hang_rank or None not in (config.fail_rank, config.kill_rank):
            time.sleep(600)
        if any(rank is not None for rank in (config.fail_rank, config.kill_rank)):
            time.sleep(600)  # as a collective operation would, waiting for the lost rank
        (context.output / f"rank{context.rank}.txt").write_text(f"{context.rank} of {context.world_size}")
        return NullArtifact(context.output)


class RankSystem(System):
    """Starts ranks with a launcher that does what torchrun does, in twenty lines."""

    class Config(SystemConfig):
        ranks: int = 2
        broken: bool = False
        elsewhere: bool = False

    @classmethod
    def traits(cls, config: Any) -> dict[str, Any]:
        return {"device": "cpu", "world_size": config.ranks}

    @classmethod
    def launch(cls, config: Any, machine: Machine, jobs: int | None = None) -> Launch:
        ranks = "broken" if config.broken else str(config.ranks)
        command = (sys.executable, "-m", "engine_test_launcher", ranks, "-m")
        hosts = (os.uname().nodename,) if config.elsewhere else ()
        return Launch(command=command, ranks=config.ranks, slots=1, hosts=hosts)


PASSES = (Die, Raise, Parent, Checkpoints, Talk, Remember, Timed, Untimed, Spoil, Ranks)
