"""Large weights read in pieces and written as they come, so that memory does not grow with the model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
import onnx_ir as ir

from olive_like.errors import PassError
from olive_like.passes.onnx_quantize._select import finite

_PIECE = 4 << 20  # bytes: read and worked on while they are in the processor's cache
_ALIGNMENT = 64
_UNWRITTEN = 32 << 20  # bytes of finished tensors that may wait to be written


class Room(threading.local):
    """A thread's memory for what it reads, used again for the next piece: fresh memory costs time."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def take(self, size: int) -> np.ndarray:
        if self._bytes.size < size:
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size]


def _fill(buffer: np.ndarray, path: Path, offset: int) -> None:
    """Read a file from a place of it until the buffer is full."""
    left = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while left:
            count = file.readinto(left)  # one call reads 2 GiB at most
            if not count:
                raise PassError(f"{path} ends {len(left)} bytes too early")
            left = left[count:]


class Matrix:
    """A constant matrix that is read some rows at a time. Leading axes of length 1 do not count."""

    def __init__(self, value: ir.Value) -> None:
        tensor = value.const_value
        assert tensor is not None
        self.value = value
        self.tensor = tensor
        self.rows, self.columns = (int(dim) for dim in list(tensor.shape)[-2:])
        self.dtype = tensor.dtype
        self._array = None if isinstance(tensor, ir.ExternalTensor) else tensor.numpy()

    @property
    def size(self) -> int:
        return self.rows * self.columns

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows as float32, all of them numbers."""
        piece = self.read_unchecked(start, stop)
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(piece.sum())
        if suspicious:  # the sum is quick; which weight it was is looked for only if it matters
            finite(self.value, piece)
        return piece

    def read_unchecked(self, start: int, stop: int, room: Room | None = None) -> np.ndarray:
        """Rows as float32, in memory that is used again if some is given.

        Read from the file and not mapped: mapped pages would count as memory in use.
        """
        if self._array is not None:
            piece = self._array.reshape(self.rows, self.columns)[start:stop]
        else:
            row = int(self.columns * self.dtype.itemsize)
            size = (min(stop, self.rows) - start) * row
            raw = np.empty(size, np.uint8) if room is None else room.take(size)
            _fill(raw, Path(self.tensor.path), (self.tensor.offset or 0) + start * row)  # type: ignore[union-attr]
            piece = raw.view(self.dtype.numpy()).reshape(-1, self.columns)
        return piece if piece.dtype == np.float32 else piece.astype(np.float32)

    def pieces(self, multiple: int = 1) -> Iterator[tuple[int, int]]:
        """Ranges of rows of a few megabytes, whose lengths are multiples of a number."""
        step = max(multiple, _PIECE // (4 * max(self.columns, 1)) // multiple * multiple)
        for start in range(0, self.rows, step):
            yield start, min(start + step, self.rows)


class Spool:
    """A file that takes finished tensors, in a folder that is gone after the pass.

    It is written while the next weight is worked on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        self._end = 0
        self._writer = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[int, Future[None]]] = deque()

    def put(self, name: str, array: np.ndarray, dtype: ir.DataType | None = None) -> ir.Value:
        """Write an array; what comes back is the graph's weight that stands in the file."""
        start = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        self._end = start + array.nbytes
        while self._waiting and sum(size for size, _ in self._waiting) + array.nbytes > _UNWRITTEN:
            self._waiting.popleft()[1].result()
        self._waiting.append((array.nbytes, self._writer.submit(self._write, start, array)))
        tensor = ir.ExternalTensor(
            self._path.name,
            start,
            array.nbytes,
            dtype or ir.DataType.from_numpy(array.dtype),
            shape=ir.Shape(array.shape),
            name=name,
            base_dir=self._path.parent,
        )
        return ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)

    def _write(self, start: int, array: np.ndarray) -> None:
        self._file.seek(start)
        np.ascontiguousarray(array).tofile(self._file)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            for _, written in self._waiting:
                written.result()
        finally:
            self._writer.shutdown()
            self._file.close()
