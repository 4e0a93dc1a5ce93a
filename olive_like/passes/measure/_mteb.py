"""Tasks of MTEB, done by any model that gives hidden states or embeddings."""

from __future__ import annotations

from typing import Any

import mteb as harness
import numpy as np
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder

from olive_like.artifacts import Artifact
from olive_like.errors import PassError
from olive_like.metrics.config import Metric
from olive_like.passes._models import load_tokenizer, quiet
from olive_like.passes.base import Context
from olive_like.passes.measure._examples import config_folder, config_of
from olive_like.passes.measure._pooling import pooled, pooling, read_json, whole
from olive_like.passes.measure._runtimes import Runtime

_LONGEST = 512
_BATCH = 32


def mteb(metric: Metric, model: Artifact, runtime: Runtime, context: Context) -> dict[str, tuple[float, float | None]]:
    """The main score of every task: `task.main_score`."""
    quiet()
    names = [str(name) for name in metric.tasks]
    try:
        tasks = harness.get_tasks(tasks=names)
    except (KeyError, ValueError) as error:
        raise PassError(f"MTEB has no such task: {str(error).strip()}", "`mteb available-tasks` lists them.") from error
    found: dict[str, tuple[float, float | None]] = {}
    for number, task in enumerate(tasks, 1):
        try:
            result = harness.evaluate(
                _Embedder(model, runtime, context.seed),
                task,
                cache=None,
                show_progress_bar=False,
                encode_kwargs={"batch_size": _BATCH, "show_progress_bar": False},
            )
        except (OSError, ValueError) as error:
            raise PassError(
                f"{task.metadata.name} cannot be done: {str(error).strip().splitlines()[0]}",
                "Its data come from the hub: they must be there, or in the hub's cache.",
            ) from error
        for done in result.task_results:
            found[f"{done.task_name}.main_score"] = float(done.get_score()), None
        context.progress(number, len(tasks))
    return found


class _Embedder(AbsEncoder):
    """A runtime as MTEB wants it: texts in, one vector of length 1 for each out."""

    def __init__(self, model: Artifact, runtime: Runtime, seed: int) -> None:
        self._runtime = runtime
        folder, config = config_folder(model), config_of(model)
        self._tokenizer = load_tokenizer(model)
        limits = [n for n in (self._tokenizer.model_max_length, config.get("max_position_embeddings")) if n]
        self._limit = min(_LONGEST, *limits)
        self._folder, self._config = folder, config
        self._prompts = (read_json(folder / "config_sentence_transformers.json") or {}).get("prompts") or {}
        self.mteb_model_meta = ModelMeta.create_empty({"name": f"olive-like/{folder.name}", "revision": str(seed)})

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **_: Any) -> np.ndarray:
        side = getattr(prompt_type, "value", prompt_type)
        before = self._prompts.get(task_metadata.name) or self._prompts.get(side or "") or ""
        return np.concatenate([self._embed([before + text for text in batch["text"]]) for batch in inputs])

    def _embed(self, texts: list[str]) -> np.ndarray:
        rows = [list(ids) for ids in self._tokenizer(texts, truncation=True, max_length=self._limit)["input_ids"]]
        width = max(map(len, rows))
        pad = self._tokenizer.pad_token_id or 0
        batch = {
            "input_ids": np.array([row + [pad] * (width - len(row)) for row in rows], np.int64),
            "attention_mask": np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], np.int64),
        }
        outputs = self._runtime.answer(batch)
        vectors = whole(outputs)
        if vectors is None:
            vectors = pooled(outputs, batch["attention_mask"], pooling(self._folder, self._config))
        return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
