"""The engine's end of the connection to a worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from olive_like.engine.channel import encode

LINE_LIMIT = 1 << 28  # a manifest of very many files is one line


@dataclass
class Line:
    """The connection to one rank."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    rank: int = 0
    pid: int = 0
    here: bool = False  # whether the pid is one of this machine

    async def send(self, message: Mapping[str, Any]) -> None:
        self.writer.write(encode(message))
        await self.writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        line = await self.reader.readline()
        return json.loads(line) if line.endswith(b"\n") else None
