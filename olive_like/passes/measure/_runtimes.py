"""One face for models of every kind: token ids in, logits or generated tokens out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from olive_like.artifacts import Adapter, Artifact, HfModel, OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components
from olive_like.passes._onnx_runtime import Decoder, Shape, make_feeds, open_session, run_session
from olive_like.passes.base import Context

Arrays = dict[str, np.ndarray]


class Runtime(Protocol):
    """What measuring asks of a model."""

    def logits(self, batch: Arrays) -> np.ndarray:
        """Scores for a padded batch (input_ids, attention_mask, …)."""
        ...

    def generate(self, prompt: Sequence[int], new_tokens: int, stop: Sequence[int]) -> list[int]:
        """The most likely tokens after a prompt."""
        ...

    def call(self, feeds: Arrays) -> None:
        """One call, for its time alone."""
        ...

    def example(self, batch: int, length: int) -> Arrays:
        """Inputs made up for a call."""
        ...


def open_runtime(model: Artifact, context: Context, task: str | None = None) -> Runtime:
    """The runtime that fits the artifact."""
    if isinstance(model, OnnxModel):
        return OnnxRuntime(model, context)
    if isinstance(model, (HfModel, Adapter)):
        return TorchRuntime(model, context, task)
    raise PassError(
        f"a {model.kind} cannot be measured by data", "Convert it to ONNX first, or use a metric of your own."
    )


class OnnxRuntime:
    """An ONNX graph under onnxruntime; a decoder's cache starts empty."""

    def __init__(self, model: OnnxModel, context: Context) -> None:
        graphs = components(model)
        self._model, self._context = model, context
        self._session = open_session(
            graphs.get("model") or next(iter(graphs.values())), threads=context.threads, device=context.device
        )
        self._decoder: Decoder | None = None
        self._io = {
            "inputs": [
                {"name": v.name, "dtype": _dtype(v.type), "shape": list(v.shape)} for v in self._session.get_inputs()
            ]
        }
        self._names = {value["name"] for value in self._io["inputs"]}

    def logits(self, batch: Arrays) -> np.ndarray:
        outputs = run_session(self._session, self._feeds(batch))
        name = "logits" if "logits" in outputs else next(iter(outputs))
        return outputs[name].astype(np.float32, copy=False)

    def generate(self, prompt: Sequence[int], new_tokens: int, stop: Sequence[int]) -> list[int]:
        if self._decoder is None:
            self._decoder = Decoder(self._model, threads=self._context.threads, device=self._context.device)
        return self._decoder.generate(prompt, new_tokens, stop)

    def call(self, feeds: Arrays) -> None:
        self._session.run(None, feeds)

    def example(self, batch: int, length: int) -> Arrays:
        return make_feeds(self._io, Shape(batch, length, 0))

    def _feeds(self, batch: Arrays) -> Arrays:
        """The batch, with what a decoder needs besides: positions and an empty cache."""
        rows, length = batch["input_ids"].shape
        feeds = {name: value for name, value in batch.items() if name in self._names}
        missing = [value for value in self._io["inputs"] if value["name"] not in feeds]
        return {**make_feeds({"inputs": missing}, Shape(rows, length, 0)), **feeds}


class TorchRuntime:
    """A Hugging Face model or an adapter on one, under torch."""

    def __init__(self, model: HfModel | Adapter, context: Context, task: str | None) -> None:
        import torch

        from olive_like.passes._models import load_model

        self._torch = torch
        torch.set_num_threads(context.threads)
        self._device = context.device
        self._model = load_model(model, task, device=context.device)
        import inspect

        self._names = set(inspect.signature(getattr(self._model, "forward")).parameters)  # noqa: B009

    def logits(self, batch: Arrays) -> np.ndarray:
        return self._run(batch).float().cpu().numpy()

    def _run(self, batch: Arrays) -> Any:
        given = {k: self._torch.from_numpy(v).to(self._device) for k, v in batch.items()}
        with self._torch.inference_mode():
            return self._model(**given).logits

    def generate(self, prompt: Sequence[int], new_tokens: int, stop: Sequence[int]) -> list[int]:
        ids = self._torch.tensor([list(prompt)], device=self._device)
        with self._torch.inference_mode():
            made = self._model.generate(
                input_ids=ids,
                attention_mask=self._torch.ones_like(ids),
                max_new_tokens=new_tokens,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=list(stop) or None,
                pad_token_id=stop[0] if stop else 0,
            )
        return [int(token) for token in made[0, ids.shape[1] :]]

    def call(self, feeds: Arrays) -> None:
        self._run(feeds)

    def example(self, batch: int, length: int) -> Arrays:
        return {
            "input_ids": np.full((batch, length), 3, np.int64),
            "attention_mask": np.ones((batch, length), np.int64),
        }


def _dtype(kind: str) -> str:
    return kind.removeprefix("tensor(").removesuffix(")")


def stop_tokens(folder: Path, tokenizer: Any) -> list[int]:
    """What ends a generated text: the folder's word, and the tokenizer's."""
    found: list[int] = []
    file = folder / "generation_config.json"
    if file.is_file():
        said = json.loads(file.read_text("utf-8")).get("eos_token_id")
        found += said if isinstance(said, list) else [said] if said is not None else []
    if tokenizer.eos_token_id is not None:
        found.append(int(tokenizer.eos_token_id))
    return list(dict.fromkeys(found))
