"""Artifacts and their records in one file, for another machine. What comes in is believed in nothing."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from olive_like.artifacts import FileEntry
from olive_like.errors import StoreError
from olive_like.store import files, tables
from olive_like.store.model import Manifest, Record
from olive_like.store.names import is_digest, trouble_with
from olive_like.store.seal import seal
from olive_like.store.trouble import storing

if TYPE_CHECKING:
    from olive_like.store.store import Store

_SCHEMA = 1
_HEADER = "olive-like-cache.json"
_LARGEST_HEADER = 256 << 20
_RECORD_FIELDS = ("key", "digest", *(name for name in tables.RECORD_COLUMNS if name not in ("key", "digest")))


# ---------------------------------------------------------------------- out


def export(store: Store, names: Iterable[str], file: Path) -> list[Record]:
    """Write the artifacts of some keys, and what they stand on, into one file."""
    records: dict[str, Record] = {}
    objects: dict[str, Manifest] = {}
    for name in names:
        record = store.show(name)
        store.path(record.key)  # verified
        records[record.key] = record
        _gather(store, record.digest, objects, records)
    if not records:
        raise StoreError("there is nothing to export", "`olive-like cache ls` shows keys.")
    header = {
        "schema": _SCHEMA,
        "objects": [{**manifest.to_json(), "stamps": []} for manifest in objects.values()],
        "records": [{name: getattr(record, name) for name in _RECORD_FIELDS} for record in records.values()],
    }
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with storing(file, sum(manifest.size for manifest in objects.values())):
            with open(draft, "wb") as stream:
                _write(stream, json.dumps(header).encode(), store, objects)
                stream.flush()
                files.sync_file(stream.fileno(), draft)
            files.replace(draft, file)
            files.sync_folder(file.absolute().parent)
    finally:
        draft.unlink(missing_ok=True)
    return list(records.values())


def _gather(store: Store, digest: str, objects: dict[str, Manifest], records: dict[str, Record]) -> None:
    """The object, after the objects in the store that it stands on, with a record each."""
    manifest = store.claim(digest)
    if manifest is None or digest in objects:
        return
    for ref in manifest.refs.values():
        _gather(store, ref, objects, records)
    objects[digest] = manifest
    if not any(record.digest == digest for record in records.values()):
        nothing: list[Record] = []
        found = store.index.read(lambda c: tables.all_records(c, "WHERE digest = ? LIMIT 1", (digest,)), nothing)
        records.update({record.key: record for record in found})


def _write(stream: IO[bytes], header: bytes, store: Store, objects: Mapping[str, Manifest]) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(_member(_HEADER, len(header)), io.BytesIO(header))
        for digest, manifest in objects.items():
            for entry in manifest.files:
                with open(store.layout.object(digest) / entry.path, "rb") as content:
                    tar.addfile(_member(_name(digest, entry), entry.size), content)


def _name(digest: str, entry: FileEntry) -> str:
    return f"objects/{digest}/{entry.path}"


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


# ---------------------------------------------------------------------- in


def import_(store: Store, file: Path) -> list[Record]:
    """Take in what `export` wrote. Every artifact is hashed; nothing is taken from a file with anything wrong in it."""
    stagings: dict[str, Path] = {}
    try:
        with open(file, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            objects, records = _read_header(file, tar)
            if sum(manifest.size for manifest in objects.values()) > os.fstat(stream.fileno()).st_size:
                raise _refuse(file, "it promises more bytes than it has")
            _unpack(file, store, tar, objects, stagings)
        sealed = {digest: _seal(file, stagings[digest], manifest) for digest, manifest in objects.items()}
        for record in records:
            digest = record.digest
            store.publish(record.key, stagings[digest], sealed[digest], record)
        return records
    except tarfile.TarError as error:
        raise _refuse(file, f"it is no such archive, or only a part of one ({error})") from error
    except OSError as error:
        raise StoreError(f"cannot read {file}: {os.strerror(error.errno or 0)}") from error
    finally:
        for staging in stagings.values():
            store.discard(staging)


def _read_header(file: Path, tar: tarfile.TarFile) -> tuple[dict[str, Manifest], list[Record]]:
    first = tar.next()
    content = tar.extractfile(first) if first is not None and _is_plain(first) else None
    if first is None or content is None or first.name != _HEADER or first.size > _LARGEST_HEADER:
        raise _refuse(file, f"it does not begin with {_HEADER}")
    try:
        header = json.load(content)
        if header["schema"] != _SCHEMA:
            raise _refuse(file, f"it has schema {header['schema']} where this version reads {_SCHEMA}")
        manifests = [_manifest(file, data) for data in header["objects"]]
        records = [_record(data) for data in header["records"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refuse(file, "its table of contents cannot be read") from error
    objects = {manifest.digest: manifest for manifest in manifests}
    if len(objects) != len(manifests) or {record.digest for record in records} != objects.keys():
        raise _refuse(file, "its records and its artifacts do not belong together")
    return objects, records


def _manifest(file: Path, data: Mapping[str, Any]) -> Manifest:
    declared = Manifest.from_json({**data, "stamps": []})
    if trouble := trouble_with([entry.path for entry in declared.files]):
        raise _refuse(file, trouble)
    if not all(is_digest(entry.digest) and entry.size >= 0 for entry in declared.files):
        raise _refuse(file, "a file in it has no proper digest")
    manifest = Manifest.make(declared.kind, declared.attributes, declared.refs, declared.files)
    if manifest.digest != declared.digest:
        raise _refuse(file, f"what it says of {declared.digest[:12]} is not what that digest stands for")
    return manifest


def _record(data: Mapping[str, Any]) -> Record:
    if set(data) != set(_RECORD_FIELDS) or not (is_digest(data["key"]) and is_digest(data["digest"])):
        raise ValueError("not a record")
    texts = {name: str(data[name]) for name in ("key", "digest", "pass_name", "node", "workflow", "run_id")}
    mappings = {name: dict(data[name]) for name in ("document", "metrics", "extra")}
    numbers = {name: float(data[name]) for name in ("created", "seconds")}
    return Record(**texts, **mappings, **numbers, peak_rss=int(data["peak_rss"]))  # type: ignore[arg-type]


def _unpack(
    file: Path, store: Store, tar: tarfile.TarFile, objects: Mapping[str, Manifest], stagings: dict[str, Path]
) -> None:
    """Write the expected members, and only these, into staging folders."""
    expected = {_name(d, entry): (d, entry) for d, manifest in objects.items() for entry in manifest.files}
    for digest in objects:
        stagings[digest] = store.staging(digest)
    while (member := tar.next()) is not None:
        wanted = expected.pop(member.name, None)
        content = tar.extractfile(member) if wanted and _is_plain(member) else None
        if wanted is None or content is None or member.size != wanted[1].size:
            raise _refuse(file, f"{member.name[:200]!r} is not what its table of contents says")
        target = stagings[wanted[0]] / wanted[1].path
        with storing(target, member.size):
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
            if wanted[1].executable:
                os.chmod(target, 0o755)
    if expected:
        raise _refuse(file, f"{next(iter(expected))[:200]!r} is missing")


def _seal(file: Path, staging: Path, manifest: Manifest) -> Manifest:
    sealed = seal(staging, manifest.kind, manifest.attributes, manifest.refs)
    if sealed.digest != manifest.digest:
        raise _refuse(file, f"the content of {manifest.digest[:12]} is not what its digest says")
    return sealed


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse()


def _refuse(file: Path, why: str) -> StoreError:
    return StoreError(f"{file} is refused: {why}", "Nothing was taken from it. Export it anew.")
