"""Large weights read in pieces and written as they come, so that memory does not grow with the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
import onnx_ir as ir

from olive_like.passes.onnx_quantize._select import finite

_PIECE = 4 << 20  # bytes: read and worked on while they are in the processor's cache
_ALIGNMENT = 64
_UNWRITTEN = 32 << 20  # bytes of finished tensors that may wait to be written


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

    def read_unchecked(self, start: int, stop: int) -> np.ndarray:
        """Rows as float32. Read from the file and not mapped: mapped pages would count as memory in use."""
        width, item = self.columns, self.dtype.itemsize
        if self._array is not None:
            piece = self._array.reshape(self.rows, width)[start:stop]
        else:
            offset = (self.tensor.offset or 0) + int(start * width * item)  # type: ignore[union-attr]
            count = (min(stop, self.rows) - start) * width
            piece = np.fromfile(self.tensor.path, self.dtype.numpy(), count, offset=offset)  # type: ignore[union-attr]
            piece = piece.reshape(-1, width)
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
