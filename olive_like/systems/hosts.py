"""Hostfiles: `name slots=8`, one machine a line, as DeepSpeed and Open MPI write them."""

from __future__ import annotations

import re
from pathlib import Path

_LINE = re.compile(r"(?P<host>\S+)(?:\s+slots=(?P<slots>\d+))?\s*(?:#.*)?\Z")


def read_hostfile(path: Path) -> dict[str, int]:
    """Machines and how many ranks each has, in the file's order; ValueError names the line that is wrong."""
    hosts: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.match(text)
        if match is None:
            raise ValueError(f"{path}:{number}: a line is `name slots=8`, not {text!r}")
        if match["host"] in hosts:
            raise ValueError(f"{path}:{number}: {match['host']} stands there twice")
        hosts[match["host"]] = int(match["slots"] or 1)
    if not hosts:
        raise ValueError(f"{path} names no machine")
    return hosts
