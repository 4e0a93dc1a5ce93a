"""Where the ranks that a launcher starts find the engine.

On this machine that is a Unix socket. For ranks on other machines it is a port, which they learn, with a
password made for this one meeting, from a file in the cache folder, which all machines share.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from olive_like.engine.line import LINE_LIMIT, Line

_LONGEST_SOCKET_PATH = 90  # the system's limit is a little above 100


class Meeting:
    """Ranks on their way in."""

    def __init__(self, arguments: list[str], password: str = "") -> None:
        self.arguments = arguments
        self._password = password
        self._connected: asyncio.Queue[Line] = asyncio.Queue()

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take in who says hello in the right way."""
        line = Line(reader, writer)
        try:
            hello = await asyncio.wait_for(line.receive(), 30.0)
            known = hello is not None and hmac.compare_digest(str(hello.get("password", "")), self._password)
            if hello is None or not known:
                writer.close()
                return
            line.rank, line.pid, line.here = int(hello["rank"]), int(hello["pid"]), not self._password
        except (TimeoutError, OSError, ValueError, KeyError):
            writer.close()
            return
        await self._connected.put(line)

    async def next(self, seconds: float) -> Line | None:
        """The next rank that comes within that time."""
        try:
            return await asyncio.wait_for(self._connected.get(), seconds)
        except TimeoutError:
            return None


@asynccontextmanager
async def meet(shared: Path | None) -> AsyncIterator[Meeting]:
    """Listen; `shared` is a folder that all machines see, None if all ranks are on this one."""
    if shared is not None:
        async with _over_the_network(shared) as meeting:
            yield meeting
        return
    base = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="olive-like-", dir=base if len(base) < _LONGEST_SOCKET_PATH - 30 else "/tmp")
    path = os.path.join(folder, "engine")
    meeting = Meeting(["--socket", path, "--engine", str(os.getpid())])
    server = await asyncio.start_unix_server(meeting.welcome, path, limit=LINE_LIMIT)
    try:
        yield meeting
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _over_the_network(shared: Path) -> AsyncIterator[Meeting]:
    password = os.urandom(16).hex()
    path = shared / f".meeting-{os.urandom(4).hex()}"
    meeting = Meeting(["--meet", str(path), "--engine", "0"], password)
    server = await asyncio.start_server(meeting.welcome, host="0.0.0.0", port=0, limit=LINE_LIMIT)
    port = server.sockets[0].getsockname()[1]
    place = {"host": socket.gethostname(), "port": port, "password": password}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, json.dumps(place).encode())
        os.close(descriptor)
        yield meeting
    finally:
        server.close()
        path.unlink(missing_ok=True)
