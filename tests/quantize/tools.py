"""What the tests of the quantisers share: running a pass as the engine does, and calibration text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from olive_like.artifacts import Dataset, HfModel
from olive_like.passes import registry
from olive_like.passes.base import Context


class Said(list[tuple[str, dict[str, Any]]]):
    """What a pass told while it ran."""

    def texts(self, kind: str) -> list[str]:
        return [str(values.get("text")) for name, values in self if name == kind]

    def steps(self) -> list[int]:
        return [values["step"] for name, values in self if name == "progress"]


def run(
    name: str,
    model: HfModel,
    where: Path,
    data: Dataset | None = None,
    seed: int = 0,
    field: str = "data_config",
    **settings: Any,
) -> tuple[HfModel, Said]:
    """Run a pass on a model; the output stands in `where`/out, the scratch folder beside it."""
    said = Said()
    for folder in ("out", "scratch"):
        (where / folder).mkdir(parents=True, exist_ok=True)
    cls = registry.load(name)
    context = Context(
        where / "out",
        where / "scratch",
        seed=seed,
        data={field: data} if data else {},
        emit=lambda kind, values: said.append((kind, dict(values))),
    )
    made = cls().apply([model], cls.Config(**settings), context)
    assert isinstance(made, HfModel)
    return made, said


def calibration(where: Path, count: int = 8, length: int = 32, vocabulary: int = 400, seed: int = 0) -> Dataset:
    """Random token sequences, as TokenizedText would have written them."""
    import numpy

    from olive_like.data._tokenized import write

    where.mkdir(parents=True, exist_ok=True)
    draws = numpy.random.default_rng(seed).integers(5, vocabulary, (count, length)).tolist()
    write(where, "train", [{"input_ids": row, "labels": row} for row in draws], "lm")
    return Dataset(where, {"format": "tokenized", "kind": "lm"})


def logits(model: Any, length: int = 24, vocabulary: int = 400) -> Any:
    """What a model says to fixed tokens."""
    import torch

    tokens = torch.randint(5, vocabulary, (2, length), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model(input_ids=tokens).logits.float()


def report(model: HfModel) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((model.path / "quantize.json").read_text())
    return content


def config(model: HfModel) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((model.path / "config.json").read_text())
    return content
