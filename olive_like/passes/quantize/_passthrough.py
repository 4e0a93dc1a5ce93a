"""A model's folder again with other attributes, or with some tensors changed, without holding it in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from olive_like.passes.quantize._checkpoint import Checkpoint, ShardWriter, copy_side_files
from olive_like.passes.quantize._output import write_config

# Rows `start:stop` of a tensor as they are to be; called for one piece after the other.
Change = Callable[[int, int], torch.Tensor]
_PIECE = 1 << 22


def copy_model(source: Path, target: Path) -> None:
    """Everything of a model's folder, byte for byte."""
    shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)


def rewrite(
    source: Path,
    target: Path,
    checkpoint: Checkpoint,
    changes: dict[str, Change],
    config: dict[str, Any],
    added: dict[str, str] | None = None,
    shapes: dict[str, tuple[int, ...]] | None = None,
) -> None:
    """The folder with some tensors changed.

    `added`: new tensor -> the one whose type and shape it has; `shapes`: of changed tensors, if they are others.
    """
    forms = {entry.name: (entry.dtype, entry.shape) for entry in checkpoint.entries.values()}
    forms |= {name: forms[like] for name, like in (added or {}).items()}
    forms |= {name: (forms[name][0], shape) for name, shape in (shapes or {}).items()}
    writer = ShardWriter(target / "model.safetensors", [(name, *form) for name, form in forms.items()])
    for name, (dtype, shape) in forms.items():
        if name in changes:
            writer.write_raw(name, _pieces(changes[name], dtype, shape))
        else:
            writer.write_raw(name, checkpoint.raw(name))
    writer.close()
    write_config(target, source, config)
    copy_side_files(source, target)


def _pieces(change: Change, dtype: torch.dtype, shape: tuple[int, ...]) -> Iterator[memoryview]:
    width = max(1, int(torch.Size(shape[1:]).numel()))
    rows = max(1, _PIECE // width) if len(shape) > 1 else shape[0]
    for start in range(0, shape[0], rows):
        piece = change(start, min(start + rows, shape[0])).to(dtype).contiguous()
        yield memoryview(piece.reshape(-1).view(torch.uint8).numpy())
