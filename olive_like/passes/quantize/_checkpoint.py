"""Tensors of a Hugging Face folder, one at a time and without mapping files into memory.

Mapped pages count as resident memory until the file is closed, so a model that is read through a map weighs
its whole size. Here only what is asked for is read, in pieces where wanted.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from olive_like.errors import PassError
from olive_like.passes.weights import check_folder, read_header

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}
_COPY = 8 << 20


@dataclass(frozen=True)
class Entry:
    """Where a tensor stands."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    file: Path
    offset: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Checkpoint:
    """The tensors of a folder by name."""

    def __init__(self, *files: Path) -> None:
        self.entries: dict[str, Entry] = {e.name: e for file in files for e in _entries(file)}

    @classmethod
    def of(cls, folder: Path) -> Checkpoint:
        """All weights of a model's folder."""
        check_folder(folder)
        return cls(*sorted(folder.glob("*.safetensors")))

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def read(self, name: str, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """A tensor, or its rows `start:stop`, as it is stored."""
        entry = self.entries[name]
        rows = entry.shape[0] if entry.shape else 1
        stop = rows if stop is None else min(stop, rows)
        shape = (stop - start, *entry.shape[1:]) if entry.shape else ()
        row_bytes = entry.nbytes // max(rows, 1)
        buffer = torch.empty((stop - start) * row_bytes, dtype=torch.uint8)
        with entry.file.open("rb", buffering=0) as file:
            file.seek(entry.offset + start * row_bytes)
            view = memoryview(buffer.numpy())
            while view:
                count = file.readinto(view)  # one call reads 2 GiB at most
                if not count:
                    raise PassError(f"{entry.file} ends inside of the tensor {name}")
                view = view[count:]
        return buffer.view(entry.dtype).view(shape)

    def raw(self, name: str) -> Iterator[bytes]:
        """The bytes of a tensor, in pieces."""
        entry = self.entries[name]
        with entry.file.open("rb") as file:
            file.seek(entry.offset)
            left = entry.nbytes
            while left:
                piece = file.read(min(_COPY, left))
                if not piece:
                    raise PassError(f"{entry.file} ends inside of the tensor {name}")
                left -= len(piece)
                yield piece


def _entries(file: Path) -> Iterator[Entry]:
    read_header(file)  # checks sizes, overlaps, types
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    for name, info in header.items():
        if name == "__metadata__":
            continue
        if info["dtype"] not in DTYPES:
            raise PassError(f"{file}: the tensor {name} has the type {info['dtype']}, which no quantiser here reads")
        yield Entry(name, DTYPES[info["dtype"]], tuple(info["shape"]), file, 8 + length + info["data_offsets"][0])


def read_file(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of one file."""
    checkpoint = Checkpoint(path)
    return {name: checkpoint.read(name) for name in checkpoint.entries}


class ShardWriter:
    """Writes a safetensors file whose tensors are known by shape before their values are, from any thread."""

    def __init__(self, path: Path, tensors: Iterable[tuple[str, torch.dtype, tuple[int, ...]]]) -> None:
        # Wide types first keeps every tensor aligned, as the library does.
        ordered = sorted(tensors, key=lambda t: (-t[1].itemsize, t[0]))
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        self.nbytes = 0
        self._places: dict[str, tuple[int, int]] = {}
        for name, dtype, shape in ordered:
            size = math.prod(shape) * dtype.itemsize
            header[name] = {
                "dtype": NAMES[dtype],
                "shape": list(shape),
                "data_offsets": [self.nbytes, self.nbytes + size],
            }
            self._places[name] = (self.nbytes, size)
            self.nbytes += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._start = 8 + len(text)
        self.names = list(self._places)
        self._file = path.open("wb", buffering=0)
        self._put(struct.pack("<Q", len(text)) + text, 0)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        self.write_raw(name, [memoryview(tensor.contiguous().cpu().reshape(-1).view(torch.uint8).numpy())])

    def write_raw(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        offset, size = self._places.pop(name)
        written = 0
        for piece in pieces:
            written += self._put(piece, self._start + offset + written)
        if written != size:
            raise ValueError(f"{name}: {written} bytes where {size} were announced")

    def _put(self, piece: bytes | memoryview, at: int) -> int:
        """Write to a place of the file's, whoever else is writing."""
        left = memoryview(piece)
        while left:
            count = os.pwrite(self._file.fileno(), left, at)  # one call writes 2 GiB at most
            left, at = left[count:], at + count
        return len(piece)

    def close(self) -> None:
        self._file.close()
        if self._places:
            raise ValueError(f"never written: {', '.join(self._places)}")


def save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A whole file at once; tensors may share memory, which is written out for each."""
    writer = ShardWriter(path, [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()])
    for name, tensor in tensors.items():
        writer.write(name, tensor)
    writer.close()


def copy_side_files(source: Path, target: Path, leave: Iterable[str] = ()) -> None:
    """Everything of a model's folder that is not its weights: tokenizer, templates, licences."""
    skip = {"model.safetensors.index.json", "config.json", "quantize_config.json", "quantize.json", *leave}
    for file in sorted(p for p in source.rglob("*") if p.is_file()):
        inside = file.relative_to(source)
        if file.name in skip or file.suffix in {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx"}:
            continue
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / inside)


def write_index(folder: Path, shards: dict[str, ShardWriter | list[str]], total: int) -> None:
    """The index that transformers wants beside several shards."""
    names = {
        name: shard
        for shard, content in shards.items()
        for name in (content.names if isinstance(content, ShardWriter) else content)
    }
    document = {"metadata": {"total_size": total}, "weight_map": dict(sorted(names.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(document, indent=2) + "\n")
