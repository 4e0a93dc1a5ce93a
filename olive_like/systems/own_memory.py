"""The memory of this process, as the system tells it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def status(field: str, pid: int | str = "self") -> int:
    """A size in /proc/<pid>/status, in bytes; 0 if it is not to be had."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def own_rss() -> int:
    """The memory that this process has now."""
    found = status("VmRSS:")
    if found:
        return found
    import psutil

    return int(psutil.Process().memory_info().rss)


def own_peak() -> int:
    """The most memory that this process had since the peak was reset."""
    found = status("VmHWM:")
    if found:
        return found
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Have the kernel forget the peak so far; where it cannot, the peak is that of the whole process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
