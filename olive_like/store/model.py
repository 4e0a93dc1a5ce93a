"""What the store knows of an artifact (its manifest) and of the run that made it (its record)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from olive_like.artifacts import FileEntry, artifact_digest


class Stamp(NamedTuple):
    """What changes when a file changes: enough to know, without reading it, that it is the file once hashed."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        inode = status.st_ino & 0x7FFF_FFFF_FFFF_FFFF  # some file systems use 64 bits, SQLite has 63
        return cls(status.st_dev, inode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True)
class Manifest:
    """An artifact's content. `stamps` says which files on this machine were seen to have it."""

    digest: str
    kind: str
    attributes: Mapping[str, Any]
    refs: Mapping[str, str]  # name -> digest
    files: tuple[FileEntry, ...]  # sorted by path
    stamps: tuple[Stamp, ...] = field(default=(), compare=False)  # beside `files`; empty: not known

    @classmethod
    def make(
        cls,
        kind: str,
        attributes: Mapping[str, Any],
        refs: Mapping[str, str],
        files: Sequence[FileEntry],
        stamps: Sequence[Stamp] = (),
    ) -> Manifest:
        digest = artifact_digest(kind, attributes, refs, list(files))
        return cls(digest, kind, dict(attributes), dict(refs), tuple(files), tuple(stamps))

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def subset(self, only: Sequence[str]) -> Manifest:
        """The manifest of just those files that match one of the globs."""
        return Manifest.make(self.kind, self.attributes, self.refs, [f for f in self.files if matches(f.path, only)])

    def to_json(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "kind": self.kind,
            "attributes": dict(self.attributes),
            "refs": dict(self.refs),
            "files": [[f.path, f.size, f.digest, f.executable] for f in self.files],
            "stamps": [list(stamp) for stamp in self.stamps],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        return cls(
            str(data["digest"]),
            str(data["kind"]),
            dict(data["attributes"]),
            dict(data["refs"]),
            tuple(FileEntry(str(p), int(s), str(d), bool(x)) for p, s, d, x in data["files"]),
            tuple(Stamp(*map(int, stamp)) for stamp in data.get("stamps", ())),
        )


def matches(path: str, globs: Sequence[str]) -> bool:
    """Whether a relative path, or its last part, matches one of the globs."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(path, glob) or fnmatchcase(name, glob) for glob in globs)


@dataclass(frozen=True)
class Record:
    """Which artifact a key gave, and how it came about.

    Whoever commits fills in the lower half; the store adds what the manifest says.
    """

    key: str
    digest: str = ""
    kind: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    refs: Mapping[str, str] = field(default_factory=dict)
    files: tuple[FileEntry, ...] = ()
    size: int = 0

    document: Mapping[str, Any] = field(default_factory=dict)  # what the key is the digest of, readable
    pass_name: str = ""
    node: str = ""
    workflow: str = ""  # identity of the workflow, not its content: what `last_record` looks up
    run_id: str = ""
    created: float = 0.0
    seconds: float = 0.0
    peak_rss: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    last_used: float = 0.0

    def to_json(self) -> dict[str, Any]:
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "files"}
        data["files"] = [[f.path, f.size, f.digest, f.executable] for f in self.files]
        return data
