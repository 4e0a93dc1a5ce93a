"""Memory that is free, given back to the machine."""

from __future__ import annotations

import ctypes
import gc


def release_memory() -> None:
    """Collect what stands in cycles, as modules and their hooks do, and freed pieces that stay with the process."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
