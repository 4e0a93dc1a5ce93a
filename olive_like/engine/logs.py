"""What a pass prints, on its way into the pass's log."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import IO

from olive_like.redact import Redactor

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 14  # a line is held back until it is whole, so that no secret is cut in two; but not for ever


class LogPipe:
    """The reading end of a worker's standard streams. What arrives goes to the log of the current pass."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._read, self.write_end = os.pipe()
        os.set_blocking(self._read, False)
        self._rest = b""
        self.trouble = ""
        self._file: IO[bytes] | None = None
        asyncio.get_running_loop().add_reader(self._read, self._on_readable)

    def started(self) -> None:
        """The worker has its end: close ours."""
        os.close(self.write_end)
        self.write_end = -1

    def open(self, path: Path) -> None:
        """Send what comes from now on to this file."""
        if self._file is not None:
            self._file.close()
        self._file = path.open("ab")

    def finish(self) -> None:
        """The pass is over: take what it wrote last and close its log."""
        while self._take():
            pass
        self._write(self._rest)
        self._rest = b""
        if self._file is not None:
            with contextlib.suppress(OSError):  # said already
                self._file.close()
            self._file = None

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._read)
        self.finish()
        os.close(self._read)
        if self.write_end >= 0:
            os.close(self.write_end)

    def _on_readable(self) -> None:
        if self._take() == b"":
            asyncio.get_running_loop().remove_reader(self._read)

    def _take(self) -> bytes | None:
        """Read once and pass whole lines on; None if there is nothing, b"" at the end."""
        try:
            data = os.read(self._read, _CHUNK)
        except BlockingIOError:
            return None
        pending = self._rest + data
        end = max(pending.rfind(b"\n"), pending.rfind(b"\r")) + 1
        if end == 0 and len(pending) > _LONGEST_LINE:
            end = len(pending)
        self._write(pending[:end])
        self._rest = pending[end:]
        return data

    def _write(self, data: bytes) -> None:
        if not data or self._file is None:
            return
        try:
            self._file.write(self._redactor.raw(data))
            self._file.flush()
        except OSError as error:  # the pass can go on without its log
            self.trouble = f"its log cannot be written: {os.strerror(error.errno or 0)}"


def append(path: Path, text: str, redactor: Redactor) -> None:
    """Add a text of the engine's own to a pass's log."""
    with path.open("ab") as file:
        file.write(redactor.raw(text.encode("utf-8", "surrogateescape")))
