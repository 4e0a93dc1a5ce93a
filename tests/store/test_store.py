"""What the store does when nothing goes wrong."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from olive_like.artifacts import Adapter, HfModel, NullArtifact
from olive_like.errors import PassError, StoreError
from olive_like.store import Manifest, Record, Store, default_root, seal
from tests.store.helpers import KEY, Cache, fill, produce, read

OTHER = "cd" * 32


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_an_artifact_comes_back_as_it_was_committed(cache: Cache) -> None:
    assert cache.peek(KEY) is None
    assert cache.fetch(KEY) is None
    made = produce(cache, node="n", workflow="w", seconds=1.5, metrics={"loss": 0.25}, document={"pass": "Null"})
    found = Cache(cache.root).fetch(KEY)
    assert found == made
    assert isinstance(found, NullArtifact)
    assert read(found) == {"a.bin": b"first", "sub/b.bin": b"second"}
    assert found.attributes == {"n": 1}
    record = cache.peek(KEY)
    assert record is not None
    assert (record.digest, record.kind, record.size, record.node) == (made.digest, "null", 11, "n")
    assert (record.seconds, record.metrics, record.document) == (1.5, {"loss": 0.25}, {"pass": "Null"})
    assert [entry.path for entry in record.files] == ["a.bin", "sub/b.bin"]
    assert cache.warnings == []


def test_a_stored_file_is_read_only_and_keeps_its_exec_bit(cache: Cache) -> None:
    staging = cache.staging(KEY)
    fill(staging, {"run.sh": b"#!", "data": b"x"})
    (staging / "run.sh").chmod(0o755)
    artifact = cache.commit(KEY, staging, seal(staging, "null", {}, {}), Record(KEY))
    assert stat.S_IMODE((artifact.path / "run.sh").stat().st_mode) == 0o555
    assert stat.S_IMODE((artifact.path / "data").stat().st_mode) == 0o444
    assert cache.fetch(KEY) == artifact


def test_the_manifest_travels_as_json(cache: Cache) -> None:
    staging = cache.staging(KEY)
    fill(staging, {"a": b"x"})
    manifest = seal(staging, "null", {"deep": {"list": [1, 2.5, None]}}, {"base": "0" * 64})
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert Manifest.from_json(manifest.to_json()).stamps == manifest.stamps


def test_one_object_for_two_keys_with_the_same_result(cache: Cache) -> None:
    first, second = produce(cache), produce(cache, OTHER)
    assert first == second
    assert len(cache.ls()) == 1
    assert {maker.key for maker in cache.ls()[0].made_by} == {KEY, OTHER}
    assert list(cache.layout.staging.iterdir()) == []


def test_the_staging_folder_is_gone_after_commit_and_discard(cache: Cache) -> None:
    staging = cache.staging(KEY)
    fill(staging, {"a": b"x"})
    cache.discard(staging)
    assert not staging.exists()
    produce(cache)
    assert list(cache.layout.staging.iterdir()) == []


def test_scratch_outlives_the_process_and_ends_with_the_result(cache: Cache) -> None:
    (cache.scratch(KEY) / "checkpoint").write_text("step 3")
    cache.close()
    again = Cache(cache.root)
    assert (again.scratch(KEY) / "checkpoint").read_text() == "step 3"
    produce(again)
    assert not (again.layout.scratch / KEY).exists()


def test_a_nondeterministic_pass_keeps_its_first_result_and_is_noted(cache: Cache) -> None:
    first = produce(cache)
    second = produce(cache, content={"a.bin": b"other"})
    assert second == first
    assert "not deterministic" in cache.warnings[0]
    assert "the first result is kept" in cache.warnings[0]
    record = cache.record(KEY)
    assert record is not None
    assert len(record.extra["other_digests"]) == 1
    assert record.digest == first.digest


def test_an_adapter_finds_its_base_in_the_store(cache: Cache) -> None:
    base = produce(cache, OTHER)
    assert base.digest is not None
    adapter = produce(cache, refs={"base": base.digest}, content={"adapter": b"x"})
    found = Cache(cache.root).fetch(KEY)
    assert found is not None
    assert found.refs == {"base": base}
    assert found == adapter


def test_an_adapter_finds_its_base_where_it_was_seen(cache: Cache, tmp_path: Path) -> None:
    model = tmp_path / "model"
    fill(model, {"config.json": b"{}"})
    digest = cache.tree_digest(model, "hf_model", {"task": "causal-lm"}).digest
    staging = cache.staging(KEY)
    fill(staging, {"adapter.safetensors": b"x"})
    cache.commit(KEY, staging, seal(staging, "adapter", {}, {"base": digest}), Record(KEY))
    found = Cache(cache.root).fetch(KEY)
    assert isinstance(found, Adapter)
    assert found.base == HfModel(model, {"task": "causal-lm"}, {}, digest)
    moved = model.rename(tmp_path / "moved")
    lost = Cache(cache.root)
    assert lost.fetch(KEY) is None
    assert "neither in the store nor where it was" in lost.warnings[0]
    in_hand = HfModel(moved, {"task": "causal-lm"}, {}, digest)
    found = lost.fetch(KEY, known=[in_hand])
    assert found is not None
    assert found.refs["base"] is in_hand


def test_last_record_is_what_the_node_used_last(cache: Cache) -> None:
    assert cache.last_record("w", "n") is None
    produce(cache, KEY, workflow="w", node="n")
    produce(cache, OTHER, {"a": b"2"}, workflow="w", node="n")
    assert cache.last_record("w", "n").key == OTHER  # type: ignore[union-attr]
    cache.used(KEY, "w", "n")
    assert cache.last_record("w", "n").key == KEY  # type: ignore[union-attr]
    assert [record.key for record in cache.history("w", "n")] == [KEY, OTHER]
    assert cache.last_record("w", "other") is None


@pytest.mark.parametrize("kind", ["symlink", "folder link", "hard link", "fifo"])
def test_seal_refuses_what_is_no_file_of_the_artifact(cache: Cache, tmp_path: Path, kind: str) -> None:
    staging = cache.staging(KEY)
    fill(staging, {"a": b"x"})
    fill(tmp_path / "else", {"b": b"y"})
    if kind == "symlink":
        (staging / "link").symlink_to(tmp_path / "else" / "b")
    elif kind == "folder link":
        (staging / "link").symlink_to(tmp_path / "else", target_is_directory=True)
    elif kind == "hard link":
        os.link(tmp_path / "else" / "b", staging / "link")
    else:
        os.mkfifo(staging / "link")
    with pytest.raises(PassError, match="link"):
        seal(staging, "null", {}, {})
    assert stat.S_IMODE((tmp_path / "else" / "b").stat().st_mode) & 0o200  # nothing outside was touched


def test_what_changes_between_seal_and_commit_is_not_kept(cache: Cache) -> None:
    staging = cache.staging(KEY)
    fill(staging, {"a": b"x"})
    manifest = seal(staging, "null", {}, {})
    (staging / "a").chmod(0o644)
    (staging / "a").write_bytes(b"y")
    with pytest.raises(StoreError, match="changed after its pass had ended"):
        cache.commit(KEY, staging, manifest, Record(KEY))
    assert not staging.exists()
    assert cache.peek(KEY) is None


def test_a_store_costs_nothing_before_it_is_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    assert store.peek(KEY) is None
    assert store.ls() == []
    assert not (tmp_path / "cache").exists()


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLIVE_LIKE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_root() == tmp_path / ".cache" / "olive-like"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_root() == tmp_path / "xdg" / "olive-like"
    monkeypatch.setenv("OLIVE_LIKE_CACHE", "~/mine")
    assert default_root() == tmp_path / "mine"
