"""Small pictures, and sounds and folders of them, to try a model on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_EDGE, _RATE = 32, 16000


def picture(file: Path, number: int) -> None:
    """Two ramps of colour over a ground that differs by the number."""
    ramp = np.arange(_EDGE, dtype=np.uint8) * (256 // _EDGE)
    ground = np.full((_EDGE, _EDGE), number * 31 % 256, np.uint8)
    pixels = np.stack([np.tile(ramp, (_EDGE, 1)), np.tile(ramp[:, None], _EDGE), ground], axis=-1)
    draft = file.with_suffix(f".{os.getpid()}.png")
    Image.fromarray(pixels).save(draft)
    draft.replace(file)


def sound(file: Path, number: int) -> None:
    """A second of a tone that differs by the number."""
    wave_form = np.sin(np.arange(_RATE) * (2 * np.pi * (220 + 30 * number) / _RATE)) * 8000
    draft = file.with_suffix(f".{os.getpid()}.wav")
    with wave.open(str(draft), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(_RATE)
        out.writeframes(wave_form.astype("<i2").tobytes())
    draft.replace(file)


def listed(files: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A folder with these rows as its list, and the files that they name."""
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    folder = files / hashlib.sha256(text.encode()).hexdigest()[:12]
    if not folder.is_dir():
        draft = folder.with_suffix(f".{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for file in files.glob("*.wav"):
            shutil.copy(file, draft)
        (draft / "metadata.jsonl").write_text(text, encoding="utf-8")
        try:
            draft.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(draft)
    return folder
