"""What a model needs besides its weights: configs, tokenizer, chat template, processor."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from olive_like.artifacts import Adapter, HfModel
from olive_like.passes._models import tokenizer_folder
from olive_like.passes._onnx_files import SIDE_FILES

_CONFIGS = ("config.json", "generation_config.json")  # written anew: transformers may have completed them
_NAMES = tuple(name for name in SIDE_FILES if name not in _CONFIGS)


def write_side_files(source: HfModel | Adapter, model: Any, output: Path) -> None:
    """Write the configs as transformers has them now, and copy the tokenizer's files as they are."""
    model.config.save_pretrained(output)
    generation = getattr(model, "generation_config", None)
    if generation is not None and hasattr(model, "can_generate") and model.can_generate():
        generation.save_pretrained(output)
    base = source.base if isinstance(source, Adapter) else source
    _copy(base.path, output, _NAMES)
    own = tokenizer_folder(source)
    if own is not None and own != base.path:
        _copy(own, output, _NAMES)


def _copy(folder: Path, output: Path, names: tuple[str, ...]) -> None:
    for pattern in names:
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                target = output / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
