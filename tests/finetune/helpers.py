"""Running a training pass without the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from olive_like.artifacts import Adapter, Artifact, Dataset, HfModel
from olive_like.passes.base import Context, Pass
from olive_like.passes.prepare.tokenize import TokenizedText

SUMS = [{"prompt": f"what is {i}?", "completion": f" it is {i * 2} and more"} for i in range(40)]
FILMS = [
    {"text": f"a {['great', 'bad', 'dull'][i % 3]} film {i}", "label": ["pos", "neg", "meh"][i % 3]} for i in range(60)
]
PAIRS = [{"prompt": f"what is {i}?", "chosen": " a good answer", "rejected": " a bad one"} for i in range(24)]


class Said:
    """What a pass said while it ran."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, values: Mapping[str, Any]) -> None:
        self.events.append((kind, dict(values)))

    def texts(self, kind: str) -> list[str]:
        return [values["text"] for what, values in self.events if what == kind]

    def metrics(self) -> dict[str, float]:
        return {values["name"]: values["value"] for what, values in self.events if what == "metric"}

    def losses(self, name: str = "loss") -> list[float]:
        return [values[name] for what, values in self.events if what == "progress" and name in values]


def prepare(model: HfModel | Adapter, folder: Path, **settings: Any) -> Dataset:
    """A prepared data set with a digest, as the engine would hand it on."""
    folder.mkdir(parents=True)
    made = TokenizedText().apply([model], TokenizedText.Config.model_validate(settings), Context(folder, folder))
    assert isinstance(made, Dataset)
    return Dataset(made.path, made.attributes, digest="d" * 64)


def run(
    cls: type[Pass],
    model: Artifact,
    folder: Path,
    data: Dataset | None = None,
    held: Dataset | None = None,
    **settings: Any,
) -> tuple[Any, Said]:
    """The artifact of a pass, and what it said. Training is in float32 unless told."""
    said = Said()
    (folder / "output").mkdir(parents=True)
    (folder / "scratch").mkdir(exist_ok=True)
    sets = {"train_data_config": data, "eval_data_config": held}
    context = Context(
        folder / "output",
        settings.pop("scratch", folder / "scratch"),
        emit=said,
        data={name: one for name, one in sets.items() if one is not None},
    )
    if data is not None:
        settings = {"train_data_config": "data", "torch_dtype": "float32"} | settings
    return cls().apply([model], cls.Config.model_validate(settings), context), said


def same_files(first: Path, second: Path) -> list[str]:
    """The names of the files that differ."""
    names = {file.name for folder in (first, second) for file in folder.iterdir()}
    return sorted(name for name in names if _bytes(first / name) != _bytes(second / name))


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def read_json(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))
