"""Hand results to the user: copies in the output folder, each with the story of how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olive_like.artifacts import Artifact
from olive_like.engine.copying import copy_tree
from olive_like.engine.events import write_json
from olive_like.engine.placing import PROVENANCE, draft_of, files_below, listed, place, recover, workplace
from olive_like.errors import OliveLikeError
from olive_like.store.locks import FileLock
from olive_like.store.trouble import os_trouble

# What differs from run to run although nothing changed.
_PASSING = ("run", "files")


@dataclass(frozen=True)
class Output:
    """One output as the user finds it."""

    name: str
    path: Path
    kind: str
    digest: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "kind": self.kind, "digest": self.digest, "bytes": self.bytes}


def deliver(name: str, artifact: Artifact, target: Path, provenance: Mapping[str, Any]) -> Output:
    """Put an artifact into its output folder, unless it is there already."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(workplace(target) / f".{target.name}.olive-lock"):
            recover(target)
            if not _is_current(target, artifact, provenance):
                _write(artifact, target, provenance)
    except OSError as error:
        raise os_trouble(error, target) from error
    size = sum(entry.get("bytes", 0) for entry in listed(target).values())
    return Output(name, target, artifact.kind, str(artifact.digest), size)


def describe(artifact: Artifact) -> dict[str, Any]:
    """What an artifact is and what it stands on."""
    described: dict[str, Any] = {
        "kind": artifact.kind,
        "digest": artifact.digest,
        "attributes": dict(artifact.attributes),
    }
    if artifact.refs:
        described["refs"] = {name: {**describe(ref), "path": str(ref.path)} for name, ref in artifact.refs.items()}
    return described


def _write(artifact: Artifact, target: Path, provenance: Mapping[str, Any]) -> None:
    draft = draft_of(target)
    # An input model that another run delivered has a story of its own, which is not this one's.
    names = [name for name in files_below(artifact.path) if name != PROVENANCE]
    try:
        draft.mkdir()
        # Written first: whoever finds the draft after a crash knows what in it is ours.
        write_json(draft / PROVENANCE, {"unfinished": True, "files": {name: {} for name in names}})
        copy_tree(artifact.path, draft, without=PROVENANCE)
        files = {name: _entry(draft / name) for name in names}
        write_json(draft / PROVENANCE, {**provenance, "artifact": describe(artifact), "files": files})
        place(draft, target)
    except (OSError, OliveLikeError):
        recover(target)
        raise


def _is_current(target: Path, artifact: Artifact, provenance: Mapping[str, Any]) -> bool:
    """Whether the folder has exactly this output, by the times of its files; a new story alone is written over."""
    files = listed(target)
    if PROVENANCE not in files:
        return False
    import json

    document = json.loads((target / PROVENANCE).read_text(encoding="utf-8"))
    if document.get("unfinished") or document.get("artifact") != json.loads(json.dumps(describe(artifact))):
        return False
    for name, entry in files.items():
        try:
            if name != PROVENANCE and _entry(target / name) != entry:
                return False
        except FileNotFoundError:
            return False
    fresh = json.loads(json.dumps({**provenance, "artifact": describe(artifact)}))
    if _lasting(fresh) != _lasting(document):
        write_json(target / PROVENANCE, {**fresh, "files": document["files"]})
    return True


def _lasting(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _PASSING}


def _entry(path: Path) -> dict[str, Any]:
    status = os.stat(path, follow_symlinks=False)
    return {"bytes": status.st_size, "stamp": [status.st_ino, status.st_mtime_ns, status.st_ctime_ns]}
