"""Digests of what the user brings."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from olive_like.errors import StoreError
from olive_like.store import hashing
from olive_like.store.model import Stamp
from tests.store.helpers import Cache, fill

MODEL = {"config.json": b"{}", "model.safetensors": b"weights", "sub/tokenizer.json": b"[]"}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    fill(tmp_path / "model", MODEL)
    return tmp_path / "model"


def digest(cache: Cache, path: Path, **attributes: object) -> str:
    return cache.tree_digest(path, "hf_model", attributes).digest


@given(size=st.integers(0, 3 << 20) | st.sampled_from([1 << 20, (1 << 20) + 1, 4 << 20, (4 << 20) + 1, 9 << 20]))
@settings(max_examples=25, deadline=None)
def test_a_file_digest_is_blake3_of_its_content(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    path = tmp_path_factory.mktemp("files") / "file"
    content = os.urandom(1 << 16) * (size // (1 << 16) + 1)
    path.write_bytes(content[:size])
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert hashing.hash_open_file(descriptor) == (blake3(content[:size]).hexdigest(), size)
    finally:
        os.close(descriptor)


def test_the_digest_is_of_the_content_not_of_the_place(cache: Cache, model: Path, tmp_path: Path) -> None:
    fill(tmp_path / "copy", MODEL)
    fill(tmp_path / "copy", {".git/HEAD": b"x", ".cache/huggingface/download/x.metadata": b"1732.5"})
    assert digest(cache, tmp_path / "copy") == digest(cache, model)
    os.utime(model / "config.json", (0, 0))
    assert digest(cache, tmp_path / "copy") == digest(cache, model)


@pytest.mark.parametrize("change", ["content", "name", "new file", "attributes", "exec bit", "gone"])
def test_every_change_moves_the_digest(cache: Cache, model: Path, change: str) -> None:
    before = digest(cache, model, task="a")
    if change == "content":
        (model / "config.json").write_bytes(b"{ }")
    elif change == "name":
        (model / "config.json").rename(model / "Config.json")
    elif change == "new file":
        (model / "empty").touch()
    elif change == "exec bit":
        (model / "config.json").chmod(0o755)
    elif change == "gone":
        (model / "config.json").unlink()
    assert digest(cache, model, task="b" if change == "attributes" else "a") != before


def test_a_hub_snapshot_of_links_is_the_same_as_a_plain_folder(cache: Cache, model: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "abc"
    (snapshot).mkdir(parents=True)
    fill(tmp_path / "blobs", {"1": b"{}", "2": b"weights", "3": b"[]"})
    (snapshot / "config.json").symlink_to("../../blobs/1")
    (snapshot / "model.safetensors").symlink_to("../../blobs/2")
    (snapshot / "sub").mkdir()
    (snapshot / "sub" / "tokenizer.json").symlink_to(tmp_path / "blobs" / "3")
    assert digest(cache, snapshot) == digest(cache, model)
    (tmp_path / "linked").symlink_to(model, target_is_directory=True)
    assert digest(cache, tmp_path / "linked") == digest(cache, model)
    (tmp_path / "blobs" / "2").unlink()
    with pytest.raises(StoreError, match="link to nothing"):
        digest(cache, snapshot)


def test_a_loop_of_links_is_refused(cache: Cache, model: Path) -> None:
    (model / "sub" / "up").symlink_to(model, target_is_directory=True)
    with pytest.raises(StoreError, match="stands in"):
        digest(cache, model)


def test_what_is_no_file_is_refused(cache: Cache, model: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        digest(cache, tmp_path / "nowhere")
    with pytest.raises(StoreError, match="nowhere"):
        cache.file_digest(tmp_path / "nowhere")
    os.mkfifo(model / "pipe")
    with pytest.raises(StoreError, match="no ordinary file"):
        digest(cache, model)
    with pytest.raises(StoreError, match="no ordinary file"):
        cache.file_digest(model / "pipe")


def test_a_single_file_is_a_tree_too(cache: Cache, model: Path) -> None:
    manifest = cache.tree_digest(model / "config.json", "onnx_model", {})
    assert [entry.path for entry in manifest.files] == ["config.json"]
    assert manifest.files[0].digest == cache.file_digest(model / "config.json")


def test_a_subset_is_only_what_the_globs_name(cache: Cache, model: Path) -> None:
    def subset() -> str:
        return cache.tree_digest(model, "hf_model", {}, only=["tokenizer*", "config.json"]).digest

    before = subset()
    (model / "model.safetensors").write_bytes(b"other weights")
    assert subset() == before
    assert cache.tree_digest(model, "hf_model", {}).subset(["tokenizer*", "config.json"]).digest == before
    (model / "sub" / "tokenizer.json").write_bytes(b"[1]")
    assert subset() != before


def _settle(path: Path) -> None:
    """Let the file's times be long enough ago to be remembered."""
    while time.time() - path.stat().st_ctime < 0.15:
        time.sleep(0.02)


def test_a_known_file_is_not_read_again(cache: Cache, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = model / "model.safetensors"
    _settle(file)
    before = cache.file_digest(file)
    reads: list[int] = []
    original = hashing.hash_open_file
    monkeypatch.setattr(
        "olive_like.store.inputs.hash_open_file", lambda descriptor: (reads.append(1), original(descriptor))[1]
    )
    assert Cache(cache.root).file_digest(file) == before
    assert reads == []
    file.write_bytes(b"WEIGHTS")
    assert cache.file_digest(file) != before
    assert reads == [1]


def test_same_size_and_times_set_back_is_found(cache: Cache, model: Path) -> None:
    file = model / "model.safetensors"
    _settle(file)
    before, status = cache.file_digest(file), file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_mtime_ns == status.st_mtime_ns
    assert cache.file_digest(file) != before


def test_a_change_within_the_clocks_tick_is_found(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system whose times move in steps of 50 ms."""

    def coarse(status: os.stat_result) -> Stamp:
        tick = 50_000_000
        return Stamp(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns // tick, status.st_ctime_ns // tick
        )

    monkeypatch.setattr(Stamp, "of", coarse)
    file = tmp_path / "file"
    for n in range(200):
        file.write_bytes(b"%04d" % n)
        assert cache.file_digest(file) == blake3(b"%04d" % n).hexdigest()


def test_a_file_that_changes_while_it_is_hashed_is_refused(
    cache: Cache, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = model / "model.safetensors"
    original = hashing.hash_open_file

    def slow(descriptor: int) -> tuple[str, int]:
        result = original(descriptor)
        writer = threading.Thread(target=lambda: file.write_bytes(b"changed"))
        writer.start()
        writer.join()
        return result

    monkeypatch.setattr("olive_like.store.inputs.hash_open_file", slow)
    with pytest.raises(StoreError, match="changed while it was hashed"):
        cache.file_digest(file)
    monkeypatch.undo()
    assert cache.file_digest(file) == blake3(b"changed").hexdigest()


def test_a_file_that_is_replaced_while_it_is_hashed_is_refused(
    cache: Cache, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = model / "model.safetensors"
    original = hashing.hash_open_file

    def slow(descriptor: int) -> tuple[str, int]:
        (model / "new").write_bytes(b"changed")
        (model / "new").rename(file)
        return original(descriptor)

    monkeypatch.setattr("olive_like.store.inputs.hash_open_file", slow)
    with pytest.raises(StoreError, match="changed while it was hashed"):
        cache.file_digest(file)
