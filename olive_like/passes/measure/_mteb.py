"""Tasks of MTEB, done by any model that gives hidden states or embeddings."""

from __future__ import annotations

import json
from pathlib import Path
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
from olive_like.passes.measure._runtimes import Arrays, Runtime

_LONGEST = 512
_BATCH = 32
_STATES = ("last_hidden_state", "hidden_states", "token_embeddings")
_POOLING = {
    "cls": "pooling_mode_cls_token",
    "lasttoken": "pooling_mode_lasttoken",
    "mean": "pooling_mode_mean_tokens",
}
_WHOLE = ("sentence_embedding", "embeddings")  # made of all tokens already


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
        self._pool = pooling(folder, config)
        self._prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
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
        vectors = pooled(self._runtime.answer(batch), batch["attention_mask"], self._pool)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def pooled(outputs: Arrays, mask: np.ndarray, how: str) -> np.ndarray:
    """One vector for each text."""
    whole = next((outputs[name] for name in _WHOLE if name in outputs), None)
    if whole is not None:
        return whole.astype(np.float64)
    states = next((outputs[name] for name in _STATES if name in outputs), None)
    if states is None:
        raise PassError(
            f"the model gives {', '.join(outputs)}: none of them is a text's vector, or its tokens'",
            "Export it with the task feature-extraction; of the model builder's, with `include_hidden_states: 1`.",
        )
    states = states.astype(np.float64)
    if how == "cls":
        return states[:, 0]
    if how == "lasttoken":
        return states[np.arange(len(states)), mask.sum(-1) - 1]
    counted = mask[:, :, None].astype(np.float64)
    return (states * counted).sum(1) / counted.sum(1)


def pooling(folder: Path, config: dict[str, Any]) -> str:
    """How the model makes a vector of its tokens' vectors: its own word, else the last of a decoder, else the mean."""
    said = _json(folder / "1_Pooling" / "config.json")
    for how, key in _POOLING.items():
        if said.get(key) or said.get("pooling_mode") == how:
            return how
    decoder = any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in config.get("architectures") or ())
    return "lasttoken" if decoder else "mean"


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}
