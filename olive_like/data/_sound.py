"""Sound as one row of numbers: read, mixed to one channel, at the wanted rate."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.util import find_spec
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from olive_like.data.errors import DataError

_INSTALL = "WAV is always read; for FLAC, MP3 and OGG: pip install 'olive-like[sound]'."


def waveform(value: Any, rate: int, folder: Path | None = None, bare: int | None = None) -> np.ndarray:
    """Samples between -1 and 1 at so many per second, of a file, of its bytes, or of samples as data sets keep them.

    `bare` is the rate of samples that come without one.
    """
    bare = bare or rate
    if isinstance(value, Mapping) and value.get("array") is not None:
        samples, own = np.asarray(value["array"], np.float32), int(value.get("sampling_rate") or bare)
    elif isinstance(value, Mapping):
        samples, own = _read(io.BytesIO(value["bytes"]) if value.get("bytes") is not None else value["path"], folder)
    elif isinstance(value, (str, Path, bytes)):
        samples, own = _read(io.BytesIO(value) if isinstance(value, bytes) else value, folder)
    else:
        samples, own = np.asarray(value, np.float32), bare
    if samples.ndim == 2:
        samples = samples.mean(-1)
    if samples.ndim != 1 or not len(samples):
        raise DataError(f"sound of the shape {samples.shape} is not read", "Give samples in a row, or a column each.")
    if own != rate:
        shared = gcd(own, rate)
        samples = resample_poly(samples, rate // shared, own // shared)
    return np.ascontiguousarray(samples, np.float32)


def _read(source: Any, folder: Path | None) -> tuple[np.ndarray, int]:
    if not isinstance(source, io.BytesIO):
        source = Path(source) if folder is None else folder / source
        if not source.is_file():
            raise DataError(f"there is no sound file {source}", "Paths are relative to the file that names them.")
    name = "the sound" if isinstance(source, io.BytesIO) else str(source)
    if _is_wav(source):
        try:
            own, samples = wavfile.read(source)
        except ValueError as error:
            raise DataError(f"{name} is no WAV file that can be read: {error}") from error
        return _scaled(samples), int(own)
    if find_spec("soundfile") is None:
        raise DataError(f"{name} is not WAV, and soundfile is not installed", _INSTALL)
    import soundfile

    try:
        samples, own = soundfile.read(source, dtype="float32", always_2d=False)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{name} cannot be read as sound: {error}", _INSTALL) from error
    return samples, int(own)


def _is_wav(source: Any) -> bool:
    if isinstance(source, io.BytesIO):
        return source.getbuffer()[:4] in (b"RIFF", b"RIFX")
    with source.open("rb") as file:
        return file.read(4) in (b"RIFF", b"RIFX")


def _scaled(samples: np.ndarray) -> np.ndarray:
    """Whole numbers of any width as parts of their largest."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float32) / np.float32(-float(np.iinfo(samples.dtype).min))
    return samples.astype(np.float32)
