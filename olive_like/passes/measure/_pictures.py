"""Pictures and their classes, as examples to measure on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from olive_like.artifacts import Artifact
from olive_like.data.config import DataConfig, ImageData
from olive_like.data.load import load
from olive_like.errors import PassError
from olive_like.passes._pictures import PictureReader
from olive_like.passes.measure._examples import Batch, config_folder

_LABELS = ("label", "labels", "class", "target")


class Pictures:
    """Pictures with their classes."""

    kind = "classification"

    def __init__(self, model: Artifact, config: DataConfig, seed: int) -> None:
        folder = config_folder(model)
        self._model = _json(folder / "config.json")
        self._settings = config.image or ImageData()
        self._reader = PictureReader(folder, self._settings, self._model.get("image_size", 224))
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
            pixels = np.stack([self._reader.pixels(row[self._image]) for row in part])
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


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}
