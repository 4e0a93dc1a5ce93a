"""Small artifacts and a store that remembers its warnings."""

from __future__ import annotations

from pathlib import Path

from olive_like.artifacts import Artifact
from olive_like.store import Manifest, Record, Store, seal

KEY = "ab" * 32


class Cache(Store):
    """A store with its warnings in a list."""

    def __init__(self, root: Path) -> None:
        self.warnings: list[str] = []
        super().__init__(root, self.warnings.append)


def fill(folder: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def produce(
    store: Store,
    key: str = KEY,
    content: dict[str, bytes] | None = None,
    refs: dict[str, str] | None = None,
    **record: object,
) -> Artifact:
    """What a runner does for one pass."""
    staging = store.staging(key)
    fill(staging, content or {"a.bin": b"first", "sub/b.bin": b"second"})
    manifest: Manifest = seal(staging, "null", {"n": 1}, refs or {})
    return store.commit(key, staging, manifest, Record(key, pass_name="Null", **record))  # type: ignore[arg-type]


def read(artifact: Artifact) -> dict[str, bytes]:
    return {p.relative_to(artifact.path).as_posix(): p.read_bytes() for p in artifact.path.rglob("*") if p.is_file()}
