"""What of a walk through a model's blocks is finished: files in the scratch folder to resume from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from blake3 import blake3

from olive_like.passes.base import Context
from olive_like.passes.quantize._checkpoint import read_file, save
from olive_like.passes.weights import read_header


@dataclass
class BlockResult:
    """What a pass makes of one block."""

    tensors: dict[str, torch.Tensor]  # by their names in the files
    report: dict[str, Any]


class Journal:
    """What of the work is finished, in the scratch folder; every file in it is checked before it is believed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "journal.json"
        self.entries: list[dict[str, Any]] = []

    def resume(self, context: Context) -> tuple[int, dict[str, torch.Tensor] | None]:
        """How many blocks are finished, and the activations after them."""
        if not self.file.exists():
            return 0, None
        entries = json.loads(self.file.read_text())
        last = entries[-1]
        files = [(entry["shard"], entry["digest"]) for entry in entries] + [(last["hidden"], last["hidden_digest"])]
        for name, digest in files:
            if not (self.folder / name).exists() or _digest(self.folder / name) != digest:
                context.note(f"{name} of the interrupted run is damaged: starting again from the first layer")
                self.file.unlink()
                return 0, None
        self.entries = entries
        context.note(f"going on at layer {len(entries)} of the interrupted run")
        return len(entries), read_file(self.folder / last["hidden"])

    def add(self, index: int, result: BlockResult, activations: dict[str, torch.Tensor]) -> None:
        shard, state = f"layer-{index:05d}.safetensors", f"hidden-{index:05d}.safetensors"
        _replace(self.folder / shard, lambda path: save(path, result.tensors))
        _replace(self.folder / state, lambda path: save(path, activations))
        before = self.entries[-1]["hidden"] if self.entries else None
        self.entries.append(
            {
                "shard": shard,
                "digest": _digest(self.folder / shard),
                "hidden": state,
                "hidden_digest": _digest(self.folder / state),
                "report": result.report,
            }
        )
        _replace(self.file, lambda path: path.write_text(json.dumps(self.entries)))
        if before:
            (self.folder / before).unlink(missing_ok=True)

    def shards(self) -> list[tuple[Path, dict[str, Any]]]:
        return [(self.folder / entry["shard"], entry["report"]) for entry in self.entries]


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that it is either whole or not there."""
    partial = path.with_name(path.name + ".part")
    write(partial)
    os.replace(partial, path)


def _digest(path: Path) -> str:
    return blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()


def copy_shards(shards: list[tuple[Path, dict[str, Any]]], output: Path) -> dict[str, list[str]]:
    """Put the finished blocks into the output folder; what remains of the model is one more shard."""
    total = len(shards) + 1
    names = {}
    for number, (path, _) in enumerate(shards):
        name = f"model-{number + 1:05d}-of-{total:05d}.safetensors"
        shutil.copyfile(path, output / name)
        names[name] = list(read_header(path))
    return names
