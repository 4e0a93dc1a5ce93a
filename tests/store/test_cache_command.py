"""`olive-like cache …`"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from olive_like.cli import main
from olive_like.engine.events import RunLog
from olive_like.redact import Redactor
from olive_like.store import Store
from olive_like.store.collect import parse_size, parse_span
from tests.store.helpers import KEY, Cache, produce

OTHER = "cd" * 32


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLIVE_LIKE_CACHE", str(tmp_path / "cache"))
    with Cache(tmp_path / "cache") as cache:
        produce(cache, node="lora", workflow="w", document={"settings": {"r": 8}})
        produce(cache, OTHER, {"x": b"y" * 2000})
    return tmp_path / "cache"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, object]:
    """Exit code and JSON document."""
    code = main(["cache", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_ls(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, listed = call(capsys, "ls")
    assert code == 0
    assert isinstance(listed, list)
    assert [(item["kind"], item["bytes"], item["made_by"][0]["key"]) for item in listed] == [
        ("null", 2000, OTHER), ("null", 11, KEY),
    ]  # fmt: skip
    assert main(["cache", "ls"]) == 0
    text = capsys.readouterr().out
    assert "2.0 kB" in text
    assert "Null lora" in text


def test_show_and_path(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = call(capsys, "show", KEY[:6])
    assert code == 0
    assert isinstance(shown, dict)
    assert (shown["key"], shown["document"], shown["present"]) == (KEY, {"settings": {"r": 8}}, True)
    assert main(["cache", "path", KEY]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert (path / "a.bin").read_bytes() == b"first"
    assert main(["cache", "show", shown["digest"][:12]]) == 0
    assert '"r": 8' in capsys.readouterr().out
    for wrong in ("ffff", "no key", "ab"):
        assert main(["cache", "show", wrong]) == 1
        assert capsys.readouterr().err.startswith("error: ")


def test_verify_finds_damage(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = call(capsys, "verify")
    assert (code, result) == (0, {"ok": True, "artifacts": 2, "bytes": 2011, "unlisted": 0, "damaged": []})
    with Cache(root) as cache:
        path = cache.path(KEY) / "a.bin"
    path.chmod(0o644)
    path.write_bytes(b"fiRst")
    code, result = call(capsys, "verify")
    assert isinstance(result, dict)
    assert (code, result["ok"], len(result["damaged"])) == (1, False, 1)
    code, result = call(capsys, "verify")
    assert code == 0


def test_gc(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = call(capsys, "gc", "--max-size", "100B", "--dry-run")
    assert isinstance(result, dict)
    assert (code, len(result["removed"]), result["freed_bytes"]) == (0, 2, 2011)
    with Cache(root) as cache:
        assert len(cache.ls()) == 2
    with Cache(root) as cache:
        cache.index.write(
            lambda db: db.execute("UPDATE objects SET last_used = ? WHERE size = 2000", (time.time() - 9e6,))
        )
    code, result = call(capsys, "gc", "--older-than", "30d")
    assert isinstance(result, dict)
    assert [item["bytes"] for item in result["removed"]] == [2000]
    assert main(["cache", "gc"]) == 2
    assert main(["cache", "gc", "--max-size", "lots"]) == 2
    assert "no size" in capsys.readouterr().err


def test_gc_removes_the_longest_unused_first_and_bases_after_adapters(tmp_path: Path) -> None:
    keys = [f"{n:064x}" for n in range(4)]
    with Cache(tmp_path) as cache:
        base = produce(cache, keys[0], {"base": b"b" * 100})
        assert base.digest is not None
        produce(cache, keys[1], {"old": b"o" * 100})
        produce(cache, keys[2], {"adapter": b"a" * 100}, refs={"base": base.digest})
        produce(cache, keys[3], {"new": b"n" * 100})
        for age, key in enumerate(keys):
            digest = cache.record(key).digest  # type: ignore[union-attr]
            moment = time.time() - 1000 * (10 - age)
            cache.index.write(
                lambda db, row=(moment, digest): db.execute("UPDATE objects SET last_used=? WHERE digest=?", row)
            )

    def left(size: int) -> list[str]:
        with Store(tmp_path) as store:
            store.gc(max_size=size)
            return [key for key in keys if store.peek(key)]

    assert left(300) == [keys[0], keys[2], keys[3]]  # the base is older, but the adapter stands on it
    assert left(200) == [keys[0], keys[3]]
    assert left(150) == [keys[3]]


def test_an_output_keeps_its_artifact_as_long_as_it_is_there(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    with Cache(tmp_path / "cache") as cache:
        artifact = produce(cache)
        assert artifact.digest is not None
        (output / "provenance.json").write_text(json.dumps({"digest": artifact.digest}))
        cache.pin(artifact.digest, output)
    with Store(tmp_path / "cache") as store:
        assert store.gc(max_size=0).removed == []
    (output / "provenance.json").write_text(json.dumps({"digest": "another"}))
    with Store(tmp_path / "cache") as store:
        assert len(store.gc(max_size=0, dry_run=True).removed) == 1
        assert len(store.gc(max_size=0).removed) == 1


def test_a_hit_that_was_only_noted_is_kept_as_long_as_the_run(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        produce(cache)
    with Cache(tmp_path) as run:
        run.used(KEY, "w", "n")
        with Cache(tmp_path) as other:
            assert other.gc(max_size=0).removed == []
        assert run.fetch(KEY) is not None
    with Cache(tmp_path) as other:
        assert len(other.gc(max_size=0).removed) == 1


def test_gc_keeps_fresh_scratch_and_removes_the_forgotten(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        scratch = cache.scratch(KEY)
        (scratch / "checkpoint").write_bytes(b"x")
        assert cache.gc(max_size=0).leftovers == []
        with cache.lock(KEY):
            assert cache.gc(older_than=0).leftovers == []
        assert cache.gc(older_than=0).leftovers == [scratch]
        assert not scratch.exists()


def test_gc_takes_what_old_runs_said(tmp_path: Path) -> None:
    day = 86400.0
    with Store(tmp_path / "cache") as cache:
        for name, days in (("new", 0), ("week", 7), ("year", 365)):
            folder = cache.layout.runs / name
            folder.mkdir(parents=True)
            then = time.time() - days * day
            for path in (folder / "events.jsonl", folder):
                path.touch()
                os.utime(path, (then, then))
        assert [path.name for path in cache.gc().leftovers] == ["year"]
        assert [path.name for path in cache.gc(older_than=0).leftovers] == ["week"]  # `new` may be running
        assert [path.name for path in cache.layout.runs.iterdir()] == ["new"]


def test_gc_leaves_a_run_that_lives_however_silent(tmp_path: Path) -> None:
    then = time.time() - 365 * 86400.0
    with Store(tmp_path / "cache") as cache:
        old = [cache.layout.runs / "over", cache.layout.runs / "lives", cache.layout.searches / "old"]
        for folder in old:
            folder.mkdir(parents=True)
        log = RunLog(old[1], "lives", Redactor())
        for path in (*old, *old[1].iterdir(), old[1] / "events.jsonl"):
            os.utime(path, (then, then))
        assert cache.gc().leftovers == [old[0], old[2]]
        log.close()
        os.utime(old[1], (then, then))
        assert cache.gc().leftovers == [old[1]]


def test_export_and_import(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, there = tmp_path / "all.tar", tmp_path / "there"
    code, exported = call(capsys, "export", str(file), "--all")
    assert isinstance(exported, dict)
    assert (code, sorted(exported["keys"]), exported["bytes"]) == (0, sorted([KEY, OTHER]), file.stat().st_size)
    code, imported = call(capsys, "import", str(file), "--cache-dir", str(there))
    assert isinstance(imported, dict)
    assert (code, sorted(imported["keys"])) == (0, sorted([KEY, OTHER]))
    with Cache(there) as cache:
        assert cache.fetch(KEY) is not None
    assert main(["cache", "export", str(file)]) == 2
    assert main(["cache", "import", str(tmp_path / "nowhere.tar")]) == 1


def test_sizes_and_spans() -> None:
    assert [parse_size(text) for text in ("50GB", "1.5GiB", "10", "2 kB")] == [50 * 10**9, 3 * 2**29, 10, 2000]
    assert [parse_span(text) for text in ("30d", "12h", "2w")] == [2592000.0, 43200.0, 1209600.0]
    for text in ("", "GB", "-1GB", "1XB"):
        with pytest.raises(ValueError, match="no size"):
            parse_size(text)
    with pytest.raises(ValueError, match="no span"):
        parse_span("30")
