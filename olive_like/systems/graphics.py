"""The GPUs and their driver, asked of the driver itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from olive_like.systems.machine import gpus

_DRIVER = Path("/proc/driver/nvidia/version")
_FIELDS = ("name", "memory.total", "driver_version", "compute_cap")
LOOKED_FOR = "/proc/driver/nvidia, /dev/nvidia0, CUDA_VISIBLE_DEVICES"


def graphics() -> dict[str, Any]:
    """Names of the GPUs that may be used, the driver, and memory and capability where nvidia-smi tells them."""
    found: dict[str, Any] = {
        "gpus": [{"name": name} for name in gpus()],
        "driver": driver(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    told = _told()
    if told and not found["gpus"] and found["visible"] is None:
        found["gpus"] = told  # a container may have the devices and not the driver's folder
    elif len(told) == len(found["gpus"]):
        found["gpus"] = told
    if told:
        found["driver"] = told[0]["driver"]
    return found


def driver() -> str | None:
    """Version of the kernel's driver."""
    try:
        text = _DRIVER.read_text()
    except OSError:
        return None
    match = re.search(r"Kernel Module\D*(\d+(?:\.\d+)+)", text)
    return match[1] if match else None


def nothing_found() -> str:
    """What was looked for where there is no GPU, and what was seen of it."""
    version = driver()
    if version is None:
        return f"no NVIDIA driver is loaded ({_DRIVER} is not there)"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return f"the driver {version} is loaded, but CUDA_VISIBLE_DEVICES is {visible!r}"
    return f"the driver {version} is loaded, but {_DRIVER.parent / 'gpus'} names no GPU"


def _told() -> list[dict[str, Any]]:
    """What nvidia-smi says; nothing where there is none or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
    return [
        {
            "name": row[0],
            "memory": int(row[1]) << 20 if row[1].isdigit() else None,
            "driver": row[2],
            "capability": row[3],
        }
        for row in rows
        if len(row) == len(_FIELDS)
    ]
