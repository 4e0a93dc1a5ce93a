"""The line between the engine and a worker: JSON lines over a socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any


class Channel:
    """The worker's end. Any thread may send; one reads."""

    def __init__(self, sock: socket.socket) -> None:
        # A fork of the pass's own must not hold the line open after the worker is gone.
        sock.set_inheritable(False)
        sock.settimeout(None)
        self._socket = sock
        self._file = sock.makefile("rb")
        self._lock = threading.Lock()

    @classmethod
    def inherited(cls, descriptor: int) -> Channel:
        """The socket that the engine left open for this process."""
        return cls(socket.socket(fileno=descriptor))

    @classmethod
    def connect(cls, path: str) -> Channel:
        """The engine's listening socket: for processes that a launcher starts."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return cls(sock)

    @classmethod
    def meet(cls, path: str) -> tuple[Channel, str]:
        """The engine on another machine, and the password to say hello with."""
        with open(path, encoding="utf-8") as file:
            place = json.load(file)
        return cls(socket.create_connection((place["host"], place["port"]), timeout=60.0)), place["password"]

    def send(self, message: Mapping[str, Any]) -> None:
        line = encode(message)
        with self._lock:
            self._socket.sendall(line)

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the engine hung up."""
        line = self._file.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def messages(self) -> Iterator[dict[str, Any]]:
        while (message := self.receive()) is not None:
            yield message


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as one line. Numbers of numpy and the like are sent as what they stand for."""
    return json.dumps(message, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    return str(value)
