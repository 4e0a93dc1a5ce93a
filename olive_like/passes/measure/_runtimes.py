"""One face for models of every kind: named arrays in, named arrays or generated tokens out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from olive_like.artifacts import Adapter, Artifact, CompositeModel, HfModel, OnnxModel, PyTorchModel
from olive_like.errors import PassError
from olive_like.passes.base import Context

Arrays = dict[str, np.ndarray]
DECODER_IDS = "decoder_input_ids"  # of a batch for an encoder-decoder model


class Runtime(Protocol):
    """What measuring asks of a model."""

    def answer(self, batch: Arrays) -> Arrays:
        """All outputs for a batch padded on the right, by name."""
        ...

    def raw(self, batch: Arrays) -> Any:
        """The same in the form that a user's post-processing function gets: torch tensors."""
        ...

    def generate(
        self, prompt: Sequence[int], new_tokens: int, stop: Sequence[int], source: Arrays | None = None
    ) -> list[int]:
        """The most likely tokens after a prompt; `source` is what an encoder reads first."""
        ...

    def call(self, feeds: Arrays) -> None:
        """One call, for its time alone."""
        ...

    def prepared(self, batch: Arrays) -> Arrays:
        """A batch as `call` takes it, so that making it ready is not in the time."""
        ...

    def example(self, batch: int, length: int) -> Arrays:
        """Inputs made up for a call, prepared."""
        ...


def open_runtime(
    model: Artifact,
    context: Context,
    task: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Runtime:
    """The runtime that fits the artifact; `settings` are a metric's for onnxruntime."""
    if isinstance(model, CompositeModel):
        model = _as_one(model)
    if isinstance(model, OnnxModel):
        from olive_like.passes.measure._onnx_side import GenaiRuntime, OnnxRuntime

        genai = model.is_genai or (model.path / "genai_config.json").is_file()  # of a folder that the user brought
        return (GenaiRuntime if genai else OnnxRuntime)(model, context, settings)
    if isinstance(model, (HfModel, Adapter)):
        return TorchRuntime(model, context, task)
    if isinstance(model, PyTorchModel):
        return ScriptedRuntime(model, context)
    raise PassError(
        f"a {model.kind} cannot be measured by data", "Convert it to ONNX first, or use a metric of your own."
    )


def _as_one(model: CompositeModel) -> OnnxModel:
    """A folder of ONNX parts that make a whole: an encoder and a decoder, or one model that has another's name."""
    parts = list(model.attributes.get("components") or [])
    names = {str(part["name"]) for part in parts}
    graphs = [{"name": p["name"], "file": str(Path(p["path"]) / _file_of(model, p))} for p in parts]
    if parts and all(part["kind"] == OnnxModel.kind for part in parts) and (len(parts) == 1 or "decoder" in names):
        return OnnxModel(model.path, {**model.attributes, "components": graphs}, digest=model.digest)
    raise PassError(
        f"the parts {', '.join(sorted(names))} are not called one after the other by any rule known here",
        "Measure it with an `evaluate_func` of your own, or the parts one by one.",
    )


def _file_of(model: CompositeModel, part: Mapping[str, Any]) -> str:
    return str((part.get("attributes") or {}).get("file", "model.onnx"))


def logits_of(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The scores among a model's outputs: those called logits, else the first."""
    name = "logits" if "logits" in outputs else next(iter(outputs))
    return np.asarray(outputs[name]).astype(np.float32, copy=False)


def logits_of_tokens(outputs: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """The scores of so many tokens; a graph may give those of the last one alone."""
    logits = logits_of(outputs)
    if logits.ndim == 3 and logits.shape[1] < count:
        raise PassError(
            f"the model gives logits of {logits.shape[1]} of {count} tokens, and this metric needs all of them",
            "The surgeon PruneLmHead, or prune_lm_head of ModelBuilder, keeps the last position alone: measure "
            "before it. Generated text, latency and throughput can be measured behind it too.",
        )
    return logits


class TorchRuntime:
    """A Hugging Face model or an adapter on one, under torch."""

    def __init__(self, model: HfModel | Adapter, context: Context, task: str | None) -> None:
        import torch

        from olive_like.passes._models import shared_model

        self._torch = torch
        torch.set_num_threads(context.threads)
        self._device = context.device
        self._model = shared_model(model, task, context)
        self._names = set(inspect.signature(getattr(self._model, "forward")).parameters)  # noqa: B009
        inner = getattr(self._model, "base_model", self._model) if isinstance(model, Adapter) else self._model
        if isinstance(model, Adapter):  # peft's own forward takes anything
            self._names = set(inspect.signature(getattr(inner, "model", inner).forward).parameters)
        self._config = self._model.config

    def answer(self, batch: Arrays) -> Arrays:
        outputs = self.raw(batch)
        tensors = {name: value for name, value in outputs.items() if isinstance(value, self._torch.Tensor)}
        return {name: value.float().cpu().numpy() for name, value in tensors.items()}

    def raw(self, batch: Arrays) -> Any:
        return self._run(self.prepared(batch))

    def generate(
        self, prompt: Sequence[int], new_tokens: int, stop: Sequence[int], source: Arrays | None = None
    ) -> list[int]:
        from transformers import GenerationMixin

        tokens = np.array([list(prompt)], np.int64)
        generate, read = self._model.generate, {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
        if source is not None:
            read = {**source, DECODER_IDS: tokens}
        if source is not None and isinstance(self._model, GenerationMixin):
            # Whisper's own writes another beginning than it is given.
            generate = partial(GenerationMixin.generate, self._model)
        with self._torch.inference_mode():
            made = generate(
                **self.prepared(read),
                max_new_tokens=new_tokens,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=list(stop) or None,
                pad_token_id=stop[0] if stop else 0,
            )
        return [int(token) for token in made[0, len(prompt) :]]

    def call(self, feeds: Arrays) -> None:
        self._run(feeds)

    def prepared(self, batch: Arrays) -> Arrays:
        known = {name: value for name, value in batch.items() if name in self._names}
        dtype = next(self._model.parameters()).dtype
        made = {}
        for name, value in (known or batch).items():
            tensor = self._torch.from_numpy(np.ascontiguousarray(value)).to(self._device)
            made[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
        return made

    def example(self, batch: int, length: int) -> Arrays:
        if "pixel_values" in self._names and "input_ids" not in self._names:
            size = getattr(self._config, "image_size", 224)
            height, width = size if isinstance(size, (list, tuple)) else (size, size)
            channels = int(getattr(self._config, "num_channels", 3))
            return self.prepared({"pixel_values": np.zeros((batch, channels, height, width), np.float32)})
        if "input_features" in self._names:
            frames = 2 * int(getattr(self._config, "max_source_positions", 1500))
            sound = np.zeros((batch, int(self._config.num_mel_bins), frames), np.float32)
            return self.prepared({"input_features": sound, DECODER_IDS: np.full((batch, 1), 3, np.int64)})
        made = {
            "input_ids": np.full((batch, length), 3, np.int64),
            "attention_mask": np.ones((batch, length), np.int64),
        }
        if getattr(self._config, "is_encoder_decoder", False):
            made[DECODER_IDS] = np.full((batch, 1), 3, np.int64)
        return self.prepared(made)

    def _run(self, given: Mapping[str, Any]) -> Any:
        with self._torch.inference_mode():
            return self._model(**given)


class ScriptedRuntime:
    """A model that the user's script builds, called the way that the user describes."""

    def __init__(self, model: PyTorchModel, context: Context) -> None:
        import torch

        from olive_like.passes.convert._scripted import load_scripted, scripted_part

        self._torch = torch
        torch.set_num_threads(context.threads)
        inner, script = load_scripted(model)
        self._model = inner.to(context.device)
        self._device = context.device
        self._part = lambda: scripted_part(self._model, script, model, None)

    def answer(self, batch: Arrays) -> Arrays:
        outputs = self.raw(batch)
        if isinstance(outputs, self._torch.Tensor):
            outputs = {"output": outputs}
        elif isinstance(outputs, (list, tuple)):
            outputs = {f"output_{index}": value for index, value in enumerate(outputs)}
        return {
            str(name): value.float().cpu().numpy()
            for name, value in outputs.items()
            if isinstance(value, self._torch.Tensor)
        }

    def raw(self, batch: Arrays) -> Any:
        return self._run(self.prepared(batch))

    def generate(
        self, prompt: Sequence[int], new_tokens: int, stop: Sequence[int], source: Arrays | None = None
    ) -> list[int]:
        raise PassError("a model that a script builds generates no text here", "Use an `evaluate_func` of your own.")

    def call(self, feeds: Arrays) -> None:
        self._run(feeds)

    def prepared(self, batch: Arrays) -> Arrays:
        return {name: self._torch.from_numpy(np.ascontiguousarray(v)).to(self._device) for name, v in batch.items()}

    def example(self, batch: int, length: int) -> Arrays:
        return dict(self._part().example)

    def _run(self, given: Mapping[str, Any]) -> Any:
        names = inspect.signature(self._model.forward).parameters
        with self._torch.inference_mode():
            by_name = set(given) <= set(names) or any(p.kind is p.VAR_KEYWORD for p in names.values())
            return self._model(**given) if by_name else self._model(*given.values())


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
