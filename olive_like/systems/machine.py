"""What this machine has, found from the operating system alone."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from olive_like.systems.base import Machine

_CGROUP = Path("/sys/fs/cgroup")
_NVIDIA = Path("/proc/driver/nvidia/gpus")
_DEVICES = Path("/dev")


@cache
def this_machine() -> Machine:
    """Cores and memory that this process may use (containers' limits included), and the GPUs it can see."""
    return Machine(cores=cores(), memory=memory(), gpus=gpus(), most_threads=most_threads())


def cores() -> int:
    """Cores that the scheduler lets this process use, or fewer where a container has a quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, min(allowed, int(quota)) if quota is not None else allowed)


def most_threads() -> int | None:
    """What OMP_NUM_THREADS allows: two threads where one was meant wait for each other on a busy machine."""
    outermost = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(outermost) if outermost.isdigit() and int(outermost) else None


def memory() -> int:
    """Bytes of memory: the machine's, or fewer where a container has a limit."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [_number(folder / "memory.max") for folder in _own_groups()]
    limits.append(_number(_CGROUP / "memory" / "memory.limit_in_bytes"))
    return min([total, *(limit for limit in limits if limit)])


def gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs that this process may use."""
    names = tuple(
        line.partition(":")[2].strip()
        for folder in sorted(_NVIDIA.glob("*"))
        for line in _lines(folder / "information")
        if line.startswith("Model:")
    )
    if not names:  # a container may have the devices and not the driver's folder
        names = ("NVIDIA GPU",) * sum(path.name[6:].isdigit() for path in _DEVICES.glob("nvidia[0-9]*"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return names
    chosen = [part.strip() for part in visible.split(",") if part.strip()]
    if all(part.isdigit() for part in chosen):
        return tuple(names[int(part)] for part in chosen if int(part) < len(names))
    return names[: len(chosen)] if "-1" not in chosen else ()


def _own_groups() -> list[Path]:
    """This process's control group and those above it (version 2)."""
    for line in _lines(Path("/proc/self/cgroup")):
        if line.startswith("0::"):
            group = _CGROUP / line[3:].strip().lstrip("/")
            return [group, *(p for p in group.parents if p.is_relative_to(_CGROUP))]
    return [_CGROUP]


def _cpu_quota() -> float | None:
    quotas = []
    for folder in _own_groups():
        parts = " ".join(_lines(folder / "cpu.max")).split()
        if len(parts) == 2 and parts[0].isdigit():
            quotas.append(int(parts[0]) / int(parts[1]))
    old = _number(_CGROUP / "cpu" / "cpu.cfs_quota_us")
    period = _number(_CGROUP / "cpu" / "cpu.cfs_period_us")
    if old and period:
        quotas.append(old / period)
    return min(quotas) if quotas else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    text = " ".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None
