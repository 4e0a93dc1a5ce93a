"""Start the process, or the group of ranks, of a worker, and end it with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from olive_like.systems.base import Launch

MODULE = "olive_like.engine.worker"
KIND_SECONDS = 1.5  # between asking a process to end and ending it


def command(launch: Launch, arguments: Sequence[str]) -> list[str]:
    """The worker's command line. A launcher's command ends with what takes a module's name (`-m`)."""
    start = launch.command or (sys.executable, "-P", "-m")
    return [*map(_filled, start), MODULE, *arguments]


def _filled(part: str) -> str:
    """What only the moment of the start can tell: a port that is free, and where we are."""
    if "{port}" in part:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            part = part.replace("{port}", str(probe.getsockname()[1]))
    return part.replace("{host}", socket.gethostname()) if "{host}" in part else part


def environment(launch: Launch, devices: Sequence[str], base: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the worker finds in its environment: ours, the system's, its share of cores and GPUs."""
    merged = dict(os.environ if base is None else base)
    merged["PYTHONUNBUFFERED"] = "1"
    merged.setdefault("TOKENIZERS_PARALLELISM", "false")
    threads = str(launch.threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        merged.setdefault(name, threads)
    gpus = [device.partition(":")[2] for device in devices if device.startswith("cuda:")]
    if gpus:
        merged["CUDA_VISIBLE_DEVICES"] = ",".join(_among_visible(gpus, merged.get("CUDA_VISIBLE_DEVICES")))
    merged.update({name: _filled(value) for name, value in launch.env.items()})
    return merged


def _among_visible(gpus: Sequence[str], visible: str | None) -> list[str]:
    """Our numbers count the GPUs that we may see: the names of these for who starts anew."""
    names = [name.strip() for name in visible.split(",") if name.strip()] if visible else []
    return [names[int(gpu)] if gpu.isdigit() and int(gpu) < len(names) else gpu for gpu in gpus]


def start(
    arguments: Sequence[str], env: Mapping[str, str], output: int, keep: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that it and its children can be ended together."""
    return subprocess.Popen(
        list(arguments),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=dict(env),
        pass_fds=tuple(keep),
        start_new_session=True,
    )


def descendants(pids: Iterable[int]) -> list[object]:
    """All processes below, also those that went into a session of their own."""
    import psutil

    found: list[object] = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a process group that we started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it is gone
        os.killpg(pid, number)


async def end(process: subprocess.Popen[bytes], others: Iterable[int] = ()) -> None:
    """End a process, its group, and everything below it: kindly first, then for certain."""
    below = descendants([process.pid, *others])
    signal_group(process.pid, signal.SIGTERM)
    await wait(process, KIND_SECONDS)
    signal_group(process.pid, signal.SIGKILL)
    _kill(below)
    await wait(process, 5.0)


async def wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code, or None if the process still runs after that time."""
    deadline = time.monotonic() + seconds
    pause = 0.001
    while (code := process.poll()) is None and time.monotonic() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.05)
    return code


def _kill(processes: Iterable[object]) -> None:
    import psutil

    for process in processes:
        assert isinstance(process, psutil.Process)
        try:
            process.kill()  # checks that the pid is still the process that was found
        except psutil.NoSuchProcess:
            continue
