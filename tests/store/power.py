"""A file system after a power failure: what was not synced may or may not be there."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class File:
    """Content as the process sees it, and as the disk surely has it (None: not even its length is sure)."""

    live: bytes = b""
    durable: bytes | None = None


@dataclass
class Folder:
    """Entries as the process sees them, and as the disk surely has them."""

    live: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)


class Disk:
    """Follows the store's I/O operations below a root; rebuilds the worst that a failure can leave.

    The operation in progress is applied when the next one begins: then it is done.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = Folder()
        self._pending: tuple[str, ...] = ()
        self.log: list[tuple[str, ...]] = []

    def hook(self, operation: str, *paths: str) -> None:
        self.finish()
        self.begin(operation, *paths)

    def begin(self, operation: str, *paths: str) -> None:
        self._pending = (operation, *paths)

    def finish(self) -> None:
        """The last operation is done, and whatever a pass wrote itself is seen."""
        if self._pending:
            operation, *paths = self._pending
            self._pending = ()
            self._apply(operation, [Path(path) for path in paths])
            self.log.append((operation, *paths))
        if self.root.exists():
            self._see(self.root, self.top)

    def _apply(self, operation: str, paths: list[Path]) -> None:
        if not paths[-1].is_relative_to(self.root):
            return
        if operation == "rename":
            # The node moves as it is, with what of it is durable.
            source, target = (self._folder(path.parent) for path in paths)
            target.live[paths[1].name] = source.live.pop(paths[0].name)
        self._see(self.root, self.top)
        if operation == "fsync":
            node = self._folder(paths[0].parent).live[paths[0].name]
            assert isinstance(node, File)
            node.durable = node.live
        elif operation == "fsync_folder":
            folder = self._folder(paths[0])
            folder.durable = dict(folder.live)

    def _folder(self, path: Path) -> Folder:
        node: File | Folder = self.top
        for part in path.relative_to(self.root).parts:
            assert isinstance(node, Folder)
            node = node.live.setdefault(part, Folder())
        assert isinstance(node, Folder)
        return node

    def _see(self, path: Path, folder: Folder) -> None:
        """Bring the live side up to date with what is there."""
        names = set(os.listdir(path))
        for gone in folder.live.keys() - names:
            del folder.live[gone]
        for name in names:
            child = path / name
            if child.is_dir():
                node = folder.live.setdefault(name, Folder())
                assert isinstance(node, Folder)
                self._see(child, node)
            elif not name.startswith("index.sqlite"):
                known = folder.live.setdefault(name, File())
                assert isinstance(known, File)
                known.live = child.read_bytes()

    def fail(self, target: Path, seed: int | None) -> None:
        """Build what is left: nothing unsynced (no seed), or a random part of it."""
        shutil.rmtree(target, ignore_errors=True)
        self._build(self.top, target, None if seed is None else random.Random(seed))

    def _build(self, folder: Folder, target: Path, luck: random.Random | None) -> None:
        target.mkdir(parents=True)
        entries = dict(folder.durable)
        for name, node in folder.live.items():
            if luck is not None and luck.random() < 0.5:
                entries[name] = node
        for name in folder.durable.keys() - folder.live.keys():
            if luck is not None and luck.random() < 0.5:
                del entries[name]
        for name, node in entries.items():
            if isinstance(node, Folder):
                self._build(node, target / name, luck)
            else:
                (target / name).write_bytes(_content(node, luck))


def _content(file: File, luck: random.Random | None) -> bytes:
    if file.durable == file.live:
        return file.live
    options = [b"", bytes(len(file.live)), file.live[: len(file.live) // 2], file.live]
    return options[1] if luck is None else luck.choice(options)
