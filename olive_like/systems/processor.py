"""What the processor can do, as the kernel tells it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")

# what a person asks for -> the kernel's flags that must all be there (x86, then ARM)
FEATURES: dict[str, tuple[frozenset[str], ...]] = {
    "avx2": (frozenset({"avx2"}),),
    "avx512": (frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"}),),
    "vnni (int8 products)": (frozenset({"avx512_vnni"}), frozenset({"avx_vnni"}), frozenset({"asimddp"})),
    "bf16": (frozenset({"avx512_bf16"}), frozenset({"amx_bf16"}), frozenset({"bf16"})),
    "fp16": (frozenset({"avx512_fp16"}), frozenset({"amx_fp16"}), frozenset({"asimdhp"})),
    "amx": (frozenset({"amx_tile"}),),
    "sve": (frozenset({"sve"}),),
}


def processor() -> dict[str, Any]:
    """Model, number of processors, and which of the instructions that models profit from are there."""
    entries = _entries()
    first = entries[0] if entries else {}
    flags = set((first.get("flags") or first.get("Features") or "").split())
    return {
        "model": first.get("model name") or platform.processor() or platform.machine(),
        "processors": len(entries) or None,
        "features": {name: any(need <= flags for need in ways) for name, ways in FEATURES.items()} if flags else {},
    }


def _entries() -> list[dict[str, str]]:
    """One mapping per processor."""
    try:
        text = _CPUINFO.read_text(errors="replace")
    except OSError:
        return []
    entries = []
    for block in text.strip().split("\n\n"):
        entry = {}
        for line in block.splitlines():
            name, _, value = line.partition(":")
            entry[name.strip()] = value.strip()
        if "processor" in entry:
            entries.append(entry)
    return entries
