"""What goes to another machine in one file, and what such a file may not do."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olive_like.canonical import digest as canonical_digest
from olive_like.errors import StoreError
from olive_like.store import Manifest, Record, seal
from olive_like.store.names import trouble_with
from tests.store.helpers import KEY, Cache, fill, produce, read

OTHER = "cd" * 32


@pytest.fixture
def here(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "there")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.tar"


def test_what_is_exported_can_be_imported(here: Cache, there: Cache, file: Path) -> None:
    base = produce(here, OTHER, {"model.bin": os.urandom(3000)}, workflow="w", node="base")
    assert base.digest is not None
    staging = here.staging(KEY)
    fill(staging, {"run.sh": b"#!", "ünïcode/ü.bin": b"", "a" * 200: b"long"})
    (staging / "run.sh").chmod(0o755)
    record = Record(KEY, document={"pass": "Lora", "r": 8}, metrics={"loss": 0.5}, seconds=2.0, peak_rss=7, node="lora")
    adapter = here.commit(KEY, staging, seal(staging, "adapter", {"task": "x"}, {"base": base.digest}), record)
    exported = here.export([KEY[:10]], file)
    assert {record.key for record in exported} == {KEY, OTHER}
    imported = there.import_(file)
    assert {record.key for record in imported} == {KEY, OTHER}
    found = there.fetch(KEY)
    assert found is not None
    assert found.digest == adapter.digest
    assert read(found) == read(adapter)
    assert os.access(found.path / "run.sh", os.X_OK)
    assert read(found.refs["base"]) == read(base)
    known = there.peek(KEY)
    assert known is not None
    assert (known.document, known.metrics, known.seconds, known.peak_rss) == (record.document, {"loss": 0.5}, 2.0, 7)
    assert there.verify().ok
    assert list(there.layout.staging.iterdir()) == []
    assert [record.key for record in there.import_(file)] == [record.key for record in imported]  # again: no harm
    assert there.warnings == []


def test_two_keys_of_one_artifact(here: Cache, there: Cache, file: Path) -> None:
    produce(here)
    produce(here, OTHER)
    here.export([KEY, OTHER], file)
    there.import_(file)
    assert there.fetch(KEY) == there.fetch(OTHER) != None  # noqa: E711


def test_an_import_does_not_displace_what_is_there(here: Cache, there: Cache, file: Path) -> None:
    produce(here, content={"a": b"theirs"})
    mine = produce(there, content={"a": b"mine"})
    here.export([KEY], file)
    there.import_(file)
    assert there.fetch(KEY) == mine


def test_damage_is_not_exported(here: Cache, file: Path) -> None:
    artifact = produce(here)
    (artifact.path / "a.bin").chmod(0o644)
    (artifact.path / "a.bin").write_bytes(b"fiRst")
    with pytest.raises(StoreError, match="not in the store any more"):
        here.export([KEY], file)
    assert not file.exists()


# ---------------------------------------------------------------------- forged archives

Change = Callable[[dict[str, Any], list[tuple[tarfile.TarInfo, bytes]]], None]


def forge(source: Path, target: Path, change: Change) -> None:
    """Rewrite an archive with `change` applied to its header and its members."""
    with tarfile.open(source) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    header = json.loads(members[0][1])
    rest = members[1:]
    change(header, rest)
    with tarfile.open(target, "w") as tar:
        raw = json.dumps(header).encode()
        info = tarfile.TarInfo("olive-like-cache.json")
        info.size = len(raw)
        for member, content in [(info, raw), *rest]:
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)


def rename_consistently(name: str) -> Change:
    """Give the first file another path, with all digests right: only the path is wrong."""

    def change(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        data = header["objects"][0]
        data["files"][0][0] = name
        manifest = Manifest.from_json(data)
        new = Manifest.make(manifest.kind, manifest.attributes, manifest.refs, manifest.files)
        data["digest"] = new.digest
        for record in header["records"]:
            record["digest"] = new.digest
        for index, (member, _) in enumerate(members):
            path = member.name.split("/", 2)[2] if index else name
            member.name = f"objects/{new.digest}/{path}"

    return change


PATHS = [
    "../x", "sub/../../x", "/etc/x", "//x", "C:/x", "C:\\x", "..\\x", ".", "..", "", "a//b", "a/", "x" * 300,
    "x/" * 600 + "x", "SUB/B.BIN", "sub", "sub/b.bin/c", "a\0b", "a\nb",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: repr(path)[:20])
def test_paths_that_lead_elsewhere_are_refused(here: Cache, there: Cache, tmp_path: Path, path: str) -> None:
    produce(here)
    here.export([KEY], tmp_path / "good.tar")
    forge(tmp_path / "good.tar", tmp_path / "bad.tar", rename_consistently(path))
    _refused(there, tmp_path)


def test_a_renamed_file_with_the_right_digests_is_taken(here: Cache, there: Cache, tmp_path: Path) -> None:
    """What is refused above is the path and nothing else."""
    produce(here)
    here.export([KEY], tmp_path / "good.tar")
    forge(tmp_path / "good.tar", tmp_path / "copy.tar", rename_consistently("new/name.bin"))
    there.import_(tmp_path / "copy.tar")
    found = there.fetch(KEY)
    assert found is not None
    assert read(found) == {"new/name.bin": b"first", "sub/b.bin": b"second"}


def test_names_that_are_one_after_normalisation_are_refused(there: Cache, here: Cache, tmp_path: Path) -> None:
    produce(here, content={"e\u0301.bin": b"1", "\u00e9.bin": b"2"})
    here.export([KEY], tmp_path / "bad.tar")
    _refused(there, tmp_path)


def _refused(there: Cache, tmp_path: Path) -> None:
    outside = {str(path) for path in tmp_path.rglob("*") if not path.is_relative_to(there.root)}
    with pytest.raises(StoreError, match="is refused"):
        there.import_(tmp_path / "bad.tar")
    assert {str(path) for path in tmp_path.rglob("*") if not path.is_relative_to(there.root)} == outside
    assert there.fetch(KEY) is None
    assert there.ls() == []
    assert not there.layout.staging.exists() or list(there.layout.staging.iterdir()) == []


def _member(header: dict[str, Any], path: str = "a.bin") -> str:
    return f"objects/{header['objects'][0]['digest']}/{path}"


def symlink_then_write(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    link = tarfile.TarInfo(_member(header, "sub"))
    link.type, link.linkname = tarfile.SYMTYPE, "../../../../outside"
    members.insert(0, (link, b""))


def symlink_for_file(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[0][0].type, members[0][0].linkname = tarfile.SYMTYPE, "/etc/passwd"


def hard_link_for_file(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[0][0].type, members[0][0].linkname = tarfile.LNKTYPE, members[1][0].name


def device(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    node = tarfile.TarInfo(_member(header))
    node.type, node.devmajor, node.devminor = tarfile.CHRTYPE, 1, 3
    members[0] = (node, b"")


def fifo(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    node = tarfile.TarInfo(_member(header))
    node.type = tarfile.FIFOTYPE
    members[0] = (node, b"")


def extra_file(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    extra = tarfile.TarInfo(_member(header, "extra"))
    extra.size = 1
    members.append((extra, b"x"))


def twice(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append(members[0])


def missing(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.pop()


def other_content(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[0] = (members[0][0], b"fiRst")


def bomb(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    data = header["objects"][0]
    data["files"][0][1] = 1 << 50
    manifest = Manifest.from_json(data)
    new = Manifest.make(manifest.kind, manifest.attributes, manifest.refs, manifest.files).digest
    for index, (member, _) in enumerate(members):
        member.name = f"objects/{new}/{data['files'][index][0]}"
    data["digest"] = header["records"][0]["digest"] = new


def false_digest(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    header["objects"][0]["attributes"] = {"n": 2}


def path_for_digest(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    header["objects"][0]["digest"] = header["records"][0]["digest"] = "../../x"


def path_for_key(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    header["records"][0]["key"] = "../../../x"


def record_without_object(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    header["records"].append({**header["records"][0], "key": OTHER, "digest": canonical_digest(1)})


def records_missing(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    del header["records"]


def newer_schema(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    header["schema"] = 99


def no_numbers(header: dict[str, Any], members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    header["objects"][0]["files"][0][1] = "five"


FORGERIES: list[Change] = [
    symlink_then_write, symlink_for_file, hard_link_for_file, device, fifo, extra_file, twice, missing, other_content,
    bomb, false_digest, path_for_digest, path_for_key, record_without_object, records_missing, newer_schema, no_numbers,
]  # fmt: skip


@pytest.mark.parametrize("change", FORGERIES, ids=lambda change: change.__name__)
def test_a_forged_archive_is_refused(here: Cache, there: Cache, tmp_path: Path, change: Change) -> None:
    produce(here)
    here.export([KEY], tmp_path / "good.tar")
    forge(tmp_path / "good.tar", tmp_path / "bad.tar", change)
    _refused(there, tmp_path)


def test_an_untouched_copy_is_taken(here: Cache, there: Cache, tmp_path: Path) -> None:
    """The forger itself does not spoil an archive."""
    made = produce(here)
    here.export([KEY], tmp_path / "good.tar")
    forge(tmp_path / "good.tar", tmp_path / "copy.tar", lambda header, members: None)
    there.import_(tmp_path / "copy.tar")
    found = there.fetch(KEY)
    assert found is not None
    assert found.digest == made.digest


def sparse(path: Path) -> None:
    """A member of a few bytes that unpacks to a terabyte of zeros."""
    info = tarfile.TarInfo("olive-like-cache.json")
    info.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"00000000000\x00" + b"00000000000\x00"
    block[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block[:512])
    path.write_bytes(bytes(block) + bytes(1024))


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 5000, b"\0" * 10240, b"\x1f\x8b" + b"x" * 600, sparse])
def test_what_is_no_archive_is_refused(there: Cache, tmp_path: Path, content: bytes | Callable[[Path], None]) -> None:
    path = tmp_path / "bad.tar"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    _refused(there, tmp_path)


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7])
def test_a_cut_archive_is_refused(here: Cache, there: Cache, tmp_path: Path, part: float) -> None:
    produce(here, content={"a": os.urandom(20_000), "b": os.urandom(20_000)})
    here.export([KEY], tmp_path / "good.tar")
    content = (tmp_path / "good.tar").read_bytes()
    (tmp_path / "bad.tar").write_bytes(content[: int(len(content) * part)])
    _refused(there, tmp_path)


def test_a_file_that_is_not_there(there: Cache, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        there.import_(tmp_path / "nowhere.tar")


@given(st.lists(st.text(st.sampled_from("aA./\\:\0é\u0301 ")), max_size=4))
def test_accepted_paths_stay_inside_and_apart(paths: list[str]) -> None:
    if trouble_with(paths):
        return
    joined = [os.path.normpath(os.path.join("/base", path)) for path in paths]
    assert all(path.startswith("/base/") for path in joined)
    assert len({path.casefold() for path in joined}) == len(paths)
