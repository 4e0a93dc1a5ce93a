"""Pictures as a vision model's processor would make tensors of them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from olive_like.artifacts import Artifact
from olive_like.data.config import DataConfig, ImageData
from olive_like.data.load import load
from olive_like.errors import PassError
from olive_like.passes.measure._examples import Batch, config_folder

_LABELS = ("label", "labels", "class", "target")


class Pictures:
    """Pictures with their classes."""

    kind = "classification"

    def __init__(self, model: Artifact, config: DataConfig, seed: int) -> None:
        folder = config_folder(model)
        self._model = _json(folder / "config.json")
        self._processor = _json(folder / "preprocessor_config.json")
        self._settings = config.image or ImageData()
        self._rows = _rows(config, seed)
        self._names = config.labels or self._known_names()
        self._label = (config.label_cols or [_find(self._rows[0], _LABELS, "classes")])[0]
        self._image = self._settings.image_col
        if self._image not in self._rows[0]:
            raise PassError(
                f"the rows have no column {self._image!r} with pictures",
                f"There are: {', '.join(map(str, self._rows[0]))}. Name it with `image: {{image_col: …}}`.",
            )
        self._batch_size = max(1, config.batch_size)
        self.total = len(self._rows)

    def batches(self) -> Iterator[Batch]:
        for start in range(0, len(self._rows), self._batch_size):
            part = self._rows[start : start + self._batch_size]
            pixels = np.stack([self._pixels(row[self._image]) for row in part])
            yield Batch({"pixel_values": pixels}, targets=[self._class(row[self._label]) for row in part])

    def _known_names(self) -> list[str]:
        names = self._model.get("id2label") or {}
        return [str(names[key]) for key in sorted(names, key=int)]

    def _class(self, label: Any) -> int:
        if isinstance(label, (int, np.integer)) and not isinstance(label, bool):
            return int(label)
        if str(label) in self._names:
            return self._names.index(str(label))
        if str(label).isdigit():
            return int(label)
        raise PassError(f"the class {label!r} is unknown", f"Known: {', '.join(self._names[:10])}.")

    def _pixels(self, value: Any) -> np.ndarray:
        """One picture: resized, cut, scaled, normalised, channels first."""
        if isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype != np.uint8:
            return value.astype(np.float32)  # made ready already
        picture = _opened(value).convert("RGB")
        height, width = self._size("size", self._settings.size, self._model.get("image_size", 224))
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
        pixels = np.asarray(picture, np.float32) * np.float32(self._processor.get("rescale_factor", 1 / 255))
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
        return int(height), int(width)


def _rows(config: DataConfig, seed: int) -> Sequence[Mapping[str, Any]]:
    loaded = load(config, seed, pictures=True)
    rows = loaded.eval or loaded.train
    if not rows:
        raise PassError("the data set has no rows")
    return rows


def _find(row: Mapping[str, Any], names: Sequence[str], what: str) -> str:
    for name in names:
        if name in row:
            return name
    raise PassError(f"no column with {what} was found among {', '.join(map(str, row))}", "Name it: `label_cols: […]`.")


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


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}
