"""A worker as the engine sees it: something that takes a job, tells how it goes, and may die."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from olive_like.engine import process
from olive_like.engine.answer import Failure, Success
from olive_like.engine.channel import encode
from olive_like.engine.job import Job
from olive_like.engine.line import LINE_LIMIT, Line
from olive_like.engine.logs import LogPipe
from olive_like.engine.meeting import Meeting, meet
from olive_like.redact import Redactor
from olive_like.systems.base import Launch

_CLOCK = 0.05  # seconds by which a timer may come too early
SILENCE_SECONDS = float(os.environ.get("OLIVE_LIKE_SILENCE_SECONDS", "600"))

OnEvent = Callable[[str, dict[str, Any]], None]


class _Lost(Exception):
    """A rank hung up."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


@dataclass
class WorkerHandle:
    """One process, or one group of ranks behind a launcher."""

    launch: Launch
    devices: Sequence[str]
    redactor: Redactor
    memory: int = 0  # bytes of loaded models that it may keep
    made: set[str] = field(default_factory=set)  # digests of what it produced: it may still have them loaded
    alive: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _lines: list[Line] = field(default_factory=list)
    _log: LogPipe | None = None
    _peak: int = 0
    _heard: dict[int, float] = field(default_factory=dict)  # rank -> when it last gave a sign of life
    _deadline: float = 0.0  # of the pass that runs, by the loop's clock
    _oom_kills: int = 0  # on this machine, a moment ago

    @property
    def reusable(self) -> bool:
        """Whether another pass may run here. Ranks are one training's: they end with it."""
        return self.alive and self.launch.ranks == 1 and self.launch.warm

    async def start(self, log: Path) -> None:
        """Start the process and connect to it; what a launcher says meanwhile goes to the first pass's log."""
        self._log = LogPipe(self.redactor)
        self._log.open(log)
        self._oom_kills = _oom_kills()
        try:
            if self.launch.command:
                await self._start_launched(self._log, log.parent)
            else:
                await self._start_direct(self._log)
        except OSError as error:
            await self.end()
            name = self.launch.command[0] if self.launch.command else sys.executable
            raise StartFailed(Failure(f"{name} cannot be started: {os.strerror(error.errno or 0)}")) from error
        except BaseException:
            await self.end()
            raise
        self.alive = True

    async def run(self, job: Job, log: Path, on_event: OnEvent, timeout: float | None = None) -> Success | Failure:
        """Have a job done. Afterwards `alive` says whether the worker can go on."""
        assert self._log is not None
        self._log.open(log)
        self._peak = 0
        try:
            return await self._run(job, on_event, timeout)
        except _Failed as failed:
            if self.launch.ranks > 1:
                await self.end()
            return failed.failure
        except _Lost as lost:
            return await self._explain_loss(lost.line)
        except TimeoutError:
            late = asyncio.get_running_loop().time() >= self._deadline - _CLOCK
            await self.end()
            return self._explain_timeout(timeout if late else None)
        except asyncio.CancelledError:
            await self.end()
            raise
        finally:
            if self._log is not None:  # of a worker that was ended it is closed
                self._log.finish()
                if self._log.trouble:
                    on_event("warning", {"text": self._log.trouble, "by": "engine"})
                    self._log.trouble = ""

    def tell_made(self, output: Path, digest: str) -> None:
        """What it keeps loaded of a result is from now on known by the result's digest."""
        if self.reusable and self._lines:
            self._lines[0].writer.write(encode({"do": "made", "output": str(output), "digest": digest}))

    async def stop(self) -> None:
        """End an idle worker: it is told so, and has a moment."""
        if not self.alive or self._process is None:
            return
        for line in self._lines:
            try:
                await line.send({"do": "stop"})
            except OSError:
                continue
        await process.wait(self._process, 3.0)
        await self.end()

    async def end(self) -> None:
        """End the worker and everything that it started."""
        self.alive = False
        if self._process is not None and self._process.poll() is None:
            await process.end(self._process, [line.pid for line in self._lines if line.here])
        self._hang_up()

    async def _start_direct(self, log: LogPipe) -> None:
        ours, theirs = socket.socketpair()
        arguments = process.command(self.launch, ["--fd", str(theirs.fileno()), "--engine", str(os.getpid())])
        env = process.environment(self.launch, self.devices)
        self._process = process.start(arguments, env, log.write_end, [theirs.fileno()])
        log.started()
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_LIMIT)
        self._lines = [Line(reader, writer)]
        await self._lines[0].send({"do": "setup", "path": [path or os.getcwd() for path in sys.path]})

    async def _start_launched(self, log: LogPipe, folder: Path) -> None:
        """Launchers pass no descriptors on: every rank connects to a socket of ours."""
        async with meet(folder if self.launch.hosts else None) as meeting:
            arguments = process.command(self.launch, meeting.arguments)
            self._process = process.start(arguments, process.environment(self.launch, self.devices), log.write_end)
            log.started()
            await self._greet(meeting)

    async def _greet(self, meeting: Meeting) -> None:
        """Wait for all ranks; give up when the launcher ends or nobody comes."""
        assert self._process is not None
        waited = 0.0
        while len(self._lines) < self.launch.ranks:
            line = await meeting.next(0.1)
            if line is not None:
                self._lines.append(line)
                continue
            waited += 0.1
            if self._process.poll() is not None or waited >= self.launch.patience:
                raise StartFailed(self._explain_start(waited))
        self._lines.sort(key=lambda line: line.rank)

    def _explain_start(self, waited: float) -> Failure:
        assert self._process is not None
        code = self._process.returncode
        ready = f"was not ready after {waited:.0f} s"
        what = f"ended with exit code {code}" if waited < self.launch.patience else ready
        return Failure(
            f"the launcher {self.launch.command[0]} {what} before all {self.launch.ranks} ranks were there",
            "The pass's log has what it printed.",
            lost=True,
        )

    async def _run(self, job: Job, on_event: OnEvent, timeout: float | None) -> Success | Failure:
        loop = asyncio.get_running_loop()
        deadline = self._deadline = loop.time() + timeout if timeout is not None else float("inf")
        async with asyncio.timeout_at(min(deadline, loop.time() + SILENCE_SECONDS)) as limit:

            def heard(line: Line, done: bool = False) -> None:
                if done:
                    self._heard.pop(line.rank, None)  # it waits for the others in silence
                else:
                    self._heard[line.rank] = loop.time()
                quietest = min(self._heard.values(), default=loop.time())
                limit.reschedule(min(deadline, quietest + SILENCE_SECONDS))

            self._heard = {line.rank: loop.time() for line in self._lines}
            message = {"do": "run", "job": job.to_json()}
            for line in self._lines:
                try:
                    await line.send(message)
                except OSError:
                    raise _Lost(line) from None
            first, *others = self._lines
            if not others:
                return await self._listen(first, on_event, heard)
            return await self._listen_to_ranks(first, others, on_event, heard)

    async def _listen_to_ranks(
        self, first: Line, others: Sequence[Line], on_event: OnEvent, heard: Callable[..., None]
    ) -> Success | Failure:
        """Rank 0 makes the artifact final when all others are through; one that fails fails all."""
        rest = [asyncio.create_task(self._listen(line, on_event, heard)) for line in others]
        leader = asyncio.create_task(self._listen(first, on_event, heard, rest))
        try:
            await asyncio.wait([leader, *rest], return_when=asyncio.FIRST_EXCEPTION)
            if any(task.exception() for task in (leader, *rest) if task.done()):
                # A rank that is lost makes the others fail, and its loss is the cause.
                await asyncio.wait([leader, *rest], timeout=0.5)
            errors = [error for task in (*rest, leader) if task.done() and (error := task.exception())]
            if errors:
                raise next((error for error in errors if isinstance(error, _Lost)), errors[0])
            return await leader
        finally:
            for task in (leader, *rest):
                task.cancel()
            await asyncio.gather(leader, *rest, return_exceptions=True)

    async def _listen(
        self, line: Line, on_event: OnEvent, heard: Callable[..., None], others: Sequence[asyncio.Task[Success]] = ()
    ) -> Success:
        """Follow one rank until it is done."""
        while True:
            try:
                message = await line.receive()
            except OSError:
                message = None
            if message is None:
                raise _Lost(line)
            heard(line)
            match message.pop("event"):
                case "hello":
                    line.pid, line.here = message["pid"], True
                case "beat":
                    self._peak = max(self._peak, message["rss_bytes"])
                    self._oom_kills = _oom_kills()
                case "applied":
                    heard(line, True)
                    if others:
                        await asyncio.wait(others)  # one that failed is noticed by who waits for all
                    heard(line)
                    await line.send({"do": "seal"})
                case "done":
                    heard(line, True)
                    return Success(
                        message["resources"],
                        message.get("manifest"),
                        message.get("artifact"),
                        message.get("kept", False),
                    )
                case "failed":
                    raise _Failed(_failure(message, self.launch.ranks))
                case kind:
                    on_event(kind, message)

    async def _explain_loss(self, line: Line) -> Failure:
        """The worker hung up in the middle of a pass: say how it ended."""
        assert self._process is not None
        # A launcher may take a moment to notice that a rank of its died.
        code = await process.wait(self._process, 5.0 if self.launch.ranks == 1 else 0.5)
        await self.end()
        who = f"rank {line.rank} (pid {line.pid})" if self.launch.ranks > 1 else f"the worker (pid {line.pid})"
        seen = f"; it had {self._peak / 2**30:.1f} GiB when last heard of" if self._peak else ""
        if code == -signal.SIGKILL:
            cause = "was killed for memory" if _oom_kills() > self._oom_kills else "was killed (SIGKILL)"
            hint = "Systems do this when memory runs out: try smaller batches, a shorter sequence, or fewer jobs."
            return Failure(f"{who} {cause}{seen}", hint, lost=True)
        if code is not None and code < 0:
            return Failure(f"{who} crashed ({_signal_name(-code)}){seen}", "The pass's log may say more.", lost=True)
        how = f"ended with exit code {code}" if code is not None else "hung up"
        return Failure(f"{who} {how} in the middle of the pass{seen}", "The pass's log may say more.", lost=True)

    def _explain_timeout(self, timeout: float | None) -> Failure:
        """A pass took longer than it may; or, with no timeout, it is silent."""
        if timeout is not None:
            return Failure(f"the pass was not done after {timeout:g} s", "Raise --timeout, or leave it out.")
        silent = min(self._heard, key=lambda rank: self._heard[rank], default=0)
        who = f"rank {silent}" if self.launch.ranks > 1 else "the worker"
        return Failure(
            f"{who} gave no sign of life for {SILENCE_SECONDS:g} s",
            "A library may hang; the pass's log may say more.",
            lost=True,
        )

    def _hang_up(self) -> None:
        for line in self._lines:
            line.writer.close()
        self._lines = []
        if self._log is not None:
            self._log.close()
            self._log = None


class StartFailed(Exception):
    """No worker came up."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _failure(message: Mapping[str, Any], ranks: int) -> Failure:
    where = f"rank {message['rank']}: " if ranks > 1 else ""
    return Failure(
        where + message["message"],
        message["hint"],
        "" if message["known"] else message["traceback"],
        message["type"],
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _oom_kills() -> int:
    """How many processes of this group the kernel has killed for memory so far."""
    for path, field_name in (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/proc/vmstat", "oom_kill")):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == field_name:
                return int(value)
    return 0
