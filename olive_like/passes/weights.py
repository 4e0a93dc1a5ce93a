"""What safetensors files say of themselves: read without torch, and checked before anything trusts them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olive_like.errors import PassError

_MAX_HEADER = 100_000_000
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.npz", "*.h5", "*.msgpack")

BYTES: dict[str, float] = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F4": 0.5, "C64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file, by its header."""

    dtype: str  # as safetensors writes it: F32, BF16 …
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return int(self.elements * BYTES.get(self.dtype, 4))


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Every tensor of one file; what is wrong with the file is said in one line."""
    size = file.stat().st_size
    with open(file, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise _broken(
                file, f"its header says {length:,} bytes, the file has {size:,}: it is cut off or no safetensors"
            )
        if length > _MAX_HEADER:
            raise _broken(file, f"its header of {length:,} bytes is over the limit of {_MAX_HEADER:,}")
        raw = stream.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _broken(file, f"its header is not readable: {error}") from None
    if not isinstance(header, dict):
        raise _broken(file, "its header is not a mapping")
    header.pop("__metadata__", None)
    _check_offsets(file, header, size - 8 - length)
    return {name: TensorInfo(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}


def read_folder(folder: Path) -> dict[str, TensorInfo]:
    """Every tensor of the safetensors files of a folder."""
    return {name: info for file in sorted(folder.glob("*.safetensors")) for name, info in read_header(file).items()}


def check_folder(folder: Path, allow_pickle: bool = False) -> None:
    """Refuse a folder whose weights are pickled, missing or broken."""
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        read_header(file)
    _check_index(folder)
    if files or allow_pickle:
        return
    pickles = sorted(found.name for pattern in _PICKLES for found in folder.glob(pattern))
    if pickles:
        raise PassError(
            f"{folder} has its weights only as {pickles[0]}, which can run code when it is opened",
            "Convert it once where you trust it: `save_pretrained(folder)` of transformers writes safetensors. "
            "Or allow it by name: `load_kwargs: {use_safetensors: false}`.",
        )
    raise PassError(f"{folder} has no weights", "A model folder has at least one *.safetensors file.")


def _check_index(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        raise PassError(f"{index} is not readable as an index of weights", "Fetch the model again.") from None
    for name in sorted(map(str, names)):
        if "/" in name or "\\" in name or name.startswith("."):
            raise PassError(f"{index} names a file outside of its folder: {name}", "Do not use this model.")
        if not (folder / name).exists():
            raise PassError(f"{folder} lacks {name}, which its index names", "Fetch the model again.")


def _check_offsets(file: Path, header: dict[str, Any], data: int) -> None:
    try:
        spans = sorted(
            (int(e["data_offsets"][0]), int(e["data_offsets"][1]), n, str(e["dtype"]), [int(s) for s in e["shape"]])
            for n, e in header.items()
        )
    except (KeyError, TypeError, ValueError, IndexError):
        raise _broken(file, "an entry of its header lacks dtype, shape or offsets") from None
    position = 0
    for start, end, name, dtype, shape in spans:
        if start != position or end < start:
            raise _broken(file, f"the bytes of {name!r} overlap others or leave a gap")
        if dtype in BYTES and (end - start) != int(math.prod(shape) * BYTES[dtype]):
            raise _broken(file, f"{name!r} has {end - start:,} bytes, which is not its shape {shape} of {dtype}")
        position = end
    if position != data:
        raise _broken(file, f"it has {data:,} bytes of tensors where its header says {position:,}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} stands there twice")
    return found


def _broken(file: Path, why: str) -> PassError:
    return PassError(f"{file} is broken: {why}", "Fetch or write the file again.")
