"""Small pictures to try a vision model on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

_EDGE = 32


def write(file: Path, number: int) -> None:
    """Two ramps of colour over a ground that differs by the number."""
    ramp = np.arange(_EDGE, dtype=np.uint8) * (256 // _EDGE)
    ground = np.full((_EDGE, _EDGE), number * 31 % 256, np.uint8)
    pixels = np.stack([np.tile(ramp, (_EDGE, 1)), np.tile(ramp[:, None], _EDGE), ground], axis=-1)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}.png")
    Image.fromarray(pixels).save(draft)
    draft.replace(file)
