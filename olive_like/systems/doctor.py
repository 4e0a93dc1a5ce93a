"""Everything that a machine has for running passes, found without importing a heavy library."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from olive_like.systems import registry
from olive_like.systems.base import Trouble
from olive_like.systems.folder import abilities
from olive_like.systems.graphics import graphics
from olive_like.systems.machine import cores, memory, this_machine
from olive_like.systems.processor import processor

_HUB = "https://huggingface.co"
_LIBRARIES = (
    "torch", "transformers", "peft", "accelerate", "datasets", "onnx", "onnxruntime", "onnxruntime-gpu",
    "onnxruntime-genai", "onnxscript", "optimum", "optuna", "safetensors", "tokenizers", "numpy", "deepspeed",
    "bitsandbytes", "ray", "flash-attn",
)  # fmt: skip


def examine(cache: Path, *, online: bool = False) -> dict[str, Any]:
    """All of it, as plain data."""
    return {
        "python": {"version": platform.python_version(), "executable": sys.executable, "platform": platform.platform()},
        "cpu": {**processor(), "cores": cores()},
        "memory": {"limit": memory(), "available": _available()},
        "gpu": graphics(),
        "libraries": libraries(_LIBRARIES),
        "hub": hub(online),
        "cache": abilities(cache),
        "systems": systems(),
    }


def libraries(names: Sequence[str]) -> dict[str, str | None]:
    """Installed versions; None where one is missing."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def systems() -> dict[str, dict[str, Any]]:
    """For every system: whether it works on this machine, and if not, why."""
    found = {}
    broken = {error.entry.name: Trouble(error.message, error.hint) for error in registry.broken()}
    for name in registry.names():
        troubles = [broken[name]] if name in broken else registry.load(name).here(this_machine())
        found[name] = {
            "works": not troubles,
            "troubles": [{"message": trouble.message, "hint": trouble.hint} for trouble in troubles],
        }
    return found


def hub(online: bool) -> dict[str, Any]:
    """Where models come from, and whether it answers; nothing is asked of the network unless told to."""
    address = os.environ.get("HF_ENDPOINT") or _HUB
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    found: dict[str, Any] = {"address": address, "offline": offline, "reachable": None}
    if not online or offline:
        return found
    import urllib.error
    import urllib.request

    started = time.perf_counter()
    try:
        if not address.startswith(("https://", "http://")):
            raise ValueError("the address must begin with https:// or http://")
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5):
            pass
        found["reachable"] = True
    except urllib.error.HTTPError:
        found["reachable"] = True  # it answered
    except (OSError, ValueError) as error:
        found |= {"reachable": False, "why": str(getattr(error, "reason", error))}
    found["seconds"] = round(time.perf_counter() - started, 3)
    return found


def _available() -> int | None:
    """Bytes that a new process could have now."""
    import psutil

    return min(int(psutil.virtual_memory().available), memory())
