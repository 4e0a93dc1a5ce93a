"""From a manifest to the artifact that passes take: with the artifacts that it stands on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from olive_like.artifacts import KINDS, Artifact
from olive_like.errors import StoreError
from olive_like.store import tables
from olive_like.store.model import Manifest

if TYPE_CHECKING:
    from olive_like.store.store import Store

Known = Mapping[str | None, Artifact]
"""Artifacts in hand, by digest."""


def in_hand(artifacts: Iterable[Artifact]) -> dict[str | None, Artifact]:
    """Artifacts and what they stand on, by digest."""
    return {artifact.digest: artifact for artifact in _with_refs(artifacts)}


def _with_refs(artifacts: Iterable[Artifact]) -> Iterator[Artifact]:
    for artifact in artifacts:
        yield artifact
        yield from _with_refs(artifact.refs.values())


def build(store: Store, manifest: Manifest, known: Known) -> Artifact:
    """The artifact at its place in the store."""
    refs = {name: _resolve(store, digest, name, known) for name, digest in manifest.refs.items()}
    cls = KINDS.get(manifest.kind)
    if cls is None:
        raise StoreError(f"this version knows no artifacts of kind {manifest.kind}")
    return cls(store.layout.object(manifest.digest), dict(manifest.attributes), refs, manifest.digest)


def _resolve(store: Store, digest: str, name: str, known: Known) -> Artifact:
    """In hand, in the store, or where it was last seen."""
    if digest in known:
        return known[digest]
    for place in filter(None, (store, store.below)):
        artifact = place.use(digest, f"{name} {digest[:12]}", known) or _external(place, digest, known)
        if artifact is not None:
            return artifact
    raise StoreError(
        f"the {name} with digest {digest[:12]} is neither in the store nor where it was",
        "Put the model back where it was, or run the workflow that made it.",
    )


def remember_external(store: Store, path: Path, manifest: Manifest) -> None:
    """Note where an artifact stands that others may stand on."""
    path = path.absolute()
    if not store.index.read(lambda connection: tables.has_external(connection, manifest.digest, path), False):
        store.index.write(lambda connection: tables.put_external(connection, manifest, path, time.time()))


def _external(store: Store, digest: str, known: Known) -> Artifact | None:
    nowhere: list[tables.External] = []
    for seen in store.index.read(lambda connection: tables.get_externals(connection, digest), nowhere):
        if not seen.path.exists():
            continue
        now = store.tree_digest(seen.path, seen.kind, seen.attributes, seen.refs)
        if now.digest == digest:
            refs = {name: _resolve(store, ref, name, known) for name, ref in seen.refs.items()}
            return KINDS[seen.kind](seen.path, seen.attributes, refs, digest)
    return None
