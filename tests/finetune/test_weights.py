"""Broken or dangerous weights: one line that says what is wrong, and nothing of them is run."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from olive_like.errors import PassError
from olive_like.passes.weights import check_folder, read_header


def file_of(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def tensor(start: int, stop: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, Any]:
    return {
        "dtype": dtype,
        "shape": shape if shape is not None else [(stop - start) // 4],
        "data_offsets": [start, stop],
    }


def test_a_good_file(tmp_path: Path) -> None:
    header = {"a": tensor(0, 8), "b": tensor(8, 12, [2, 1], "BF16"), "__metadata__": {"format": "pt"}}
    found = read_header(file_of(tmp_path / "a.safetensors", header, bytes(12)))
    assert {name: (info.dtype, info.shape, info.bytes) for name, info in found.items()} == {
        "a": ("F32", (2,), 8),
        "b": ("BF16", (2, 1), 4),
    }


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "header over 100 MB": (lambda p: sparse(p, 100_000_001), "over the limit"),
    "length overflow": (lambda p: file_of(p, {}, length=2**63), "cut off or no safetensors"),
    "truncated header": (lambda p: file_of(p, {"a": tensor(0, 4)}, length=1000), "cut off"),
    "truncated data": (
        lambda p: file_of(p, {"a": tensor(0, 8)}, bytes(4)),
        "4 bytes of tensors where its header says 8",
    ),
    "empty": (lambda p: touch(p), "cut off or no safetensors"),
    "overlap": (lambda p: file_of(p, {"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)), "overlap"),
    "gap": (lambda p: file_of(p, {"a": tensor(0, 4), "b": tensor(8, 12)}, bytes(12)), "leave a gap"),
    "duplicate": (lambda p: file_of(p, b'{"a": {}, "a": {}}'), "'a' stands there twice"),
    "no JSON": (lambda p: file_of(p, b"\x80\x02}"), "not readable"),
    "nested": (lambda p: file_of(p, b'{"a":' * 100_000), "not readable"),
    "a list": (lambda p: file_of(p, []), "not a mapping"),
    "shape lies": (lambda p: file_of(p, {"a": tensor(0, 8, [3])}, bytes(8)), "is not its shape"),
    "no offsets": (lambda p: file_of(p, {"a": {"dtype": "F32", "shape": [1]}}), "lacks dtype, shape or offsets"),
}


def sparse(path: Path, header: int) -> Path:
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", header))
        file.truncate(header + 100)
    return path


def touch(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line(name: str, tmp_path: Path) -> None:
    make, words = BROKEN[name]
    file = make(tmp_path / "model.safetensors")
    with pytest.raises(PassError, match=words) as caught:
        check_folder(tmp_path)
    assert "\n" not in caught.value.message
    assert str(file) in caught.value.message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "arrays.npz"])
def test_pickles_are_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(PassError, match=f"only as {name}, which can run code") as caught:
        check_folder(tmp_path)
    assert "safetensors" in caught.value.hint


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a\\b", "missing.safetensors"])
def test_an_index_cannot_lead_elsewhere(name: str, tmp_path: Path) -> None:
    file_of(tmp_path / "a.safetensors", {})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(PassError, match=r"outside of its folder|which its index names"):
        check_folder(tmp_path)


@pytest.mark.heavy
def test_no_pickle_is_opened_by_loading(tmp_path: Path) -> None:
    import pickle

    from olive_like.passes._models import load_model
    from tests.tiny_models import as_artifact, tiny_llama

    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (mark,)  # type: ignore[return-value]

    model = tiny_llama(tmp_path / "model")
    (model.path / "model.safetensors").unlink()
    (model.path / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(PassError, match="can run code"):
        load_model(model)
    allowed = as_artifact(model.path)
    object.__setattr__(allowed, "attributes", {"load_kwargs": {"use_safetensors": False}})
    with pytest.raises(PassError):
        load_model(allowed)
    assert not mark.exists()
