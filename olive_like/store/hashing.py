"""BLAKE3 of files: reading ahead in one thread while the others hash, in a few MiB of memory."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_BLOCK = 4 << 20
_SMALL = 1 << 20  # up to here a thread costs more than it brings


def hash_open_file(descriptor: int) -> tuple[str, int]:
    """Digest and length of what can be read from the descriptor's start.

    Not memory-mapped: a file that shrinks meanwhile would end the process, and a big one count as memory used.
    """
    if os.fstat(descriptor).st_size <= _SMALL:
        return _hash_small(descriptor)
    hasher = blake3(max_threads=blake3.AUTO)
    buffers = [memoryview(bytearray(_BLOCK)) for _ in range(2)]
    length, turn = 0, 0
    count = os.preadv(descriptor, [buffers[0]], 0)
    while count:
        ahead = _reader().submit(os.preadv, descriptor, [buffers[1 - turn]], length + count)
        hasher.update(buffers[turn][:count])
        length += count
        count, turn = ahead.result(), 1 - turn
    return hasher.hexdigest(), length


def _hash_small(descriptor: int) -> tuple[str, int]:
    hasher, length = blake3(), 0
    while block := os.pread(descriptor, _SMALL, length):
        hasher.update(block)
        length += len(block)
    return hasher.hexdigest(), length


@cache
def _reader() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # costs 4 ms: only where something big is hashed

    return ThreadPoolExecutor(4, thread_name_prefix="olive-like-read")
