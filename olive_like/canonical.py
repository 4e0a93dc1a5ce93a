"""The one encoding from which every digest of structured data is taken."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from enum import Enum
from typing import Any

from blake3 import blake3


def encode(value: Any) -> bytes:
    """Encode JSON-like data so that equal bytes mean equal values *and* equal types.

    `1`, `"1"`, `1.0` and `True` differ, the order of a mapping's keys does not matter,
    and what has no single meaning (NaN, infinity, sets, objects) is refused.
    """
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def digest(value: Any) -> str:
    """BLAKE3-256 of the canonical encoding, as 64 hex digits."""
    return blake3(encode(value)).hexdigest()


def _encode(value: Any, parts: list[bytes]) -> None:
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        parts.append(b"n")
    elif value is True:
        parts.append(b"t")
    elif value is False:
        parts.append(b"f")
    elif isinstance(value, int):
        parts.append(b"i%d;" % value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no place in a key: only finite numbers do")
        parts.append(b"d" + struct.pack(">d", value + 0.0))
    elif isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        parts.append(b"s%d:" % len(raw) + raw)
    elif isinstance(value, bytes):
        parts.append(b"b%d:" % len(value) + value)
    elif isinstance(value, (list, tuple)):
        parts.append(b"l%d:" % len(value))
        for item in value:
            _encode(item, parts)
    elif isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("only text can name an entry of a mapping in a key")
        parts.append(b"m%d:" % len(value))
        for key in sorted(value):
            _encode(key, parts)
            _encode(value[key], parts)
    else:
        raise TypeError(f"a {type(value).__name__} has no place in a key")
