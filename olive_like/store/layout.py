"""Where things stand below the store's root, and where the root is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from olive_like.errors import StoreError
from olive_like.store import files
from olive_like.store.index import SCHEMA
from olive_like.store.trouble import storing


def default_root() -> Path:
    """The user's own cache folder: OLIVE_LIKE_CACHE, or the usual place for caches."""
    if chosen := os.environ.get("OLIVE_LIKE_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()).absolute() / "olive-like"


class Layout:
    """The folders of one store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = root / "objects"
        self.staging = root / "staging"
        self.scratch = root / "scratch"
        self.locks = root / "locks"
        self.leases = root / "leases"
        self.quarantine = root / "quarantine"
        self.trash = root / "trash"
        self.runs = root / "runs"
        self.searches = root / "searches"

    def object(self, digest: str) -> Path:
        return self.objects / digest[:2] / digest

    def is_writable(self) -> bool:
        """Whether this user may create files in the root, or create the root."""
        path = self.root
        while not path.exists() and path.parent != path:
            path = path.parent
        return path.is_dir() and os.access(path, os.W_OK | os.X_OK)

    def index_file(self) -> Path:
        """The index of this product's schema; a store begun by another version keeps its own beside it."""
        try:
            schema = json.loads((self.root / "store.json").read_text(encoding="utf-8"))["schema"]
        except FileNotFoundError:
            schema = SCHEMA
        except (ValueError, KeyError, TypeError, OSError):
            schema = None  # unreadable: nobody's index must be taken for ours
        return self.root / ("index.sqlite" if schema == SCHEMA else f"index-{SCHEMA}.sqlite")

    def begin(self) -> None:
        """Create what every store has."""
        with storing(self.root):
            missing = [path for path in (self.objects, self.staging, self.locks, self.leases) if not path.exists()]
            for folder in missing:
                files.make_folder(folder)
            if not (self.root / "store.json").exists():
                files.write_atomically(self.root / "store.json", b'{"schema": %d}\n' % SCHEMA)
            elif missing:
                files.sync_folder(self.root)


def private_overlay(root: Path, on_warning: Callable[[str], None]) -> Path:
    """A folder of this user's own for what cannot be written into a read-only store."""
    import tempfile  # costs 4 ms, and hardly anybody comes here

    user = os.getuid() if hasattr(os, "getuid") else 0
    home = Path(tempfile.gettempdir()) / f"olive-like-{user}"
    with storing(home):
        home.mkdir(mode=0o700, exist_ok=True)
        status = home.lstat()
    if home.is_symlink() or (hasattr(os, "getuid") and status.st_uid != user):
        raise StoreError(f"{root} cannot be written, and {home} belongs to somebody else", "Set OLIVE_LIKE_CACHE.")
    overlay = home / blake3(os.fsencode(root.absolute())).hexdigest()[:16]
    on_warning(f"the cache {root} cannot be written: it is read, and new results go to {overlay}")
    return overlay
