"""Made-up inputs: for times, and for comparing a model with another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from olive_like.artifacts import Artifact, OnnxModel
from olive_like.data.config import DataConfig
from olive_like.errors import PassError
from olive_like.passes.measure._examples import Batch, config_of


class MadeUp:
    """Inputs of the shapes that the data set's `dummy` says, or sequences of tokens."""

    kind = "made up"

    def __init__(self, model: Artifact, config: DataConfig, seed: int) -> None:
        assert config.dummy is not None
        self._dummy, self._batch = config.dummy, max(1, config.batch_size)
        self._random = np.random.default_rng(seed)
        self._vocabulary = int(config_of(model).get("vocab_size") or 100)
        self._names = config.dummy.input_names or _names(model)
        self.total = config.dummy.max_samples

    def batches(self) -> Iterator[Batch]:
        for start in range(0, self.total, self._batch):
            rows = min(self._batch, self.total - start)
            yield Batch(self._shaped() if self._dummy.input_shapes else self._tokens(rows))

    def _shaped(self) -> dict[str, np.ndarray]:
        shapes = self._dummy.input_shapes
        if len(self._names) != len(shapes):
            raise PassError(f"there are {len(shapes)} shapes for {len(self._names)} inputs", "Set `input_names`.")
        types = self._dummy.input_types or ["float32"] * len(shapes)
        made = {}
        for name, shape, kind in zip(self._names, shapes, types, strict=True):
            if kind.startswith("float"):
                made[name] = self._random.standard_normal(shape).astype(kind)
            else:
                made[name] = np.ones(shape, kind)
        return made

    def _tokens(self, rows: int) -> dict[str, np.ndarray]:
        shape = (rows, self._dummy.seq_len or 128)
        ids = self._random.integers(min(3, self._vocabulary - 1), self._vocabulary, shape)
        return {"input_ids": ids.astype(np.int64), "attention_mask": np.ones(shape, np.int64)}


def _names(model: Artifact) -> list[str]:
    """The names of a model's inputs, as far as its artifact says them."""
    if isinstance(model, OnnxModel) and "io" in model.attributes:
        return [str(value["name"]) for value in model.attributes["io"].get("inputs", [])]
    io = model.attributes.get("io_config")
    return list(io.get("input_names") or []) if isinstance(io, dict) else []
