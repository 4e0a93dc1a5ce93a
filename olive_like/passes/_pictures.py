"""A picture as a vision model's processor would make a tensor of it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from olive_like.data.config import ImageData
from olive_like.errors import PassError

FILE = "preprocessor_config.json"


class PictureReader:
    """What the data set says of pictures comes first, then the processor's file beside the model, then `edges`."""

    def __init__(self, folder: Path, settings: ImageData | None, edges: Any = 224) -> None:
        file = folder / FILE
        self._processor: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        self._settings = settings or ImageData()
        self._edges = edges

    def pixels(self, value: Any) -> np.ndarray:
        """One picture: resized, cut, scaled, normalised, channels first."""
        if isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype != np.uint8:
            return value.astype(np.float32)  # made ready already
        picture = _opened(value).convert("RGB")
        height, width = self._size("size", self._settings.size, self._edges)
        cut = self._settings.crop_size or (
            self._processor.get("crop_size") if self._processor.get("do_center_crop") else None
        )
        shortest = self._shortest()
        if shortest is not None:
            scale = shortest / min(picture.size)
            width, height = (max(shortest, round(edge * scale)) for edge in picture.size)
        picture = picture.resize((width, height), self._processor.get("resample", Image.Resampling.BILINEAR))
        if cut is not None:
            picture = _centre(picture, *self._size("crop_size", cut, height))
        scaled = self._processor.get("rescale_factor", 1 / 255) if self._processor.get("do_rescale", True) else 1
        pixels = np.asarray(picture, np.float32) * np.float32(scaled)
        mean = self._settings.mean or self._processor.get("image_mean") or [0.5, 0.5, 0.5]
        std = self._settings.std or self._processor.get("image_std") or [0.5, 0.5, 0.5]
        if self._processor.get("do_normalize", True):
            pixels = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)

    def _shortest(self) -> int | None:
        """The length of the shorter edge, where the processor asks for that."""
        size = self._processor.get("size")
        if self._settings.size is not None or not isinstance(size, Mapping):
            return None
        return int(size["shortest_edge"]) if "shortest_edge" in size else None

    def _size(self, name: str, said: Any, default: Any) -> tuple[int, int]:
        size = said if said is not None else self._processor.get(name, default)
        if isinstance(size, Mapping):
            size = [size.get("height", size.get("shortest_edge")), size.get("width", size.get("shortest_edge"))]
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        if not (isinstance(height, int) and isinstance(width, int)):
            raise PassError("the size of the images is not known", "Set `image: {size: 224}` in the data set.")
        return height, width


def _opened(value: Any) -> Image.Image:
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, Mapping):  # as data sets keep pictures
        value = io.BytesIO(value["bytes"]) if value.get("bytes") is not None else value["path"]
    if isinstance(value, (str, Path, io.BytesIO)):
        try:
            return Image.open(value)
        except OSError as error:
            raise PassError(f"{value} is no picture: {error}") from error
    return Image.fromarray(np.asarray(value, np.uint8))


def _centre(picture: Image.Image, height: int, width: int) -> Image.Image:
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))
