"""What a running pass takes: wall time, processor time, memory of the process and of the GPU."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from olive_like.systems.own_memory import forget_peak, own_peak, own_rss, status

_INTERVAL = 1.0


class Sampler:
    """Measures one pass after another, and calls `beat` every second while one runs."""

    def __init__(self, beat: Callable[[dict[str, Any]], None]) -> None:
        self._beat = beat
        self._running = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._peak = 0
        self._started = 0.0
        self._cpu = 0.0

    def start(self) -> None:
        """Begin with a pass."""
        _reset_peak()
        self._peak = 0
        self._started = time.perf_counter()
        self._cpu = _cpu_seconds()
        self._running.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="olive-like-heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> dict[str, Any]:
        """End with the pass: what it took."""
        self._running.clear()
        return {
            "seconds": time.perf_counter() - self._started,
            "cpu_seconds": _cpu_seconds() - self._cpu,
            "peak_rss_bytes": max(self._peak, own_peak()),
            "peak_gpu_bytes": gpu_peak(),
        }

    def _loop(self) -> None:
        while True:
            self._running.wait()
            time.sleep(_INTERVAL)
            if not self._running.is_set():
                continue
            rss = own_rss() + children_rss(os.getpid())
            self._peak = max(self._peak, rss)
            try:
                self._beat({"rss_bytes": rss, "gpu_bytes": gpu_peak()})
            except OSError:
                os._exit(1)  # the engine hung up


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _reset_peak() -> None:
    """A warm worker has an earlier pass's peak, of its memory and of the GPU's."""
    forget_peak()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def children_rss(pid: int) -> int:
    """Memory of all processes below one."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += status("VmRSS:", child) + children_rss(int(child))
    except OSError:
        pass  # a process that ended meanwhile
    return total


def gpu_peak() -> int | None:
    """The most GPU memory that torch took, all its devices together; None where torch uses none."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return None
    return sum(int(torch.cuda.max_memory_allocated(device)) for device in range(torch.cuda.device_count()))
