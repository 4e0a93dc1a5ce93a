"""ONNX graphs under onnxruntime, and generation by onnxruntime-genai where a folder is made for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnxruntime as ort

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.metrics.providers import joined, providers_wanted, settings_for_onnx
from olive_like.passes._onnx_files import components
from olive_like.passes._onnx_runtime import (
    ORT_ERRORS,
    Decoder,
    Shape,
    cache_inputs,
    known_axes,
    make_feeds,
    open_session,
    providers_for,
    run_session,
    vocabulary_of,
)
from olive_like.passes.base import Context
from olive_like.passes.measure._runtimes import DECODER_IDS, Arrays

_LEVELS = {
    0: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    2: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    99: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class OnnxRuntime:
    """An ONNX graph under onnxruntime; a decoder's cache starts empty."""

    def __init__(self, model: OnnxModel, context: Context, settings: Mapping[str, Any] | None = None) -> None:
        graphs = components(model)
        self._model, self._context = model, context
        # What was tuned for the model holds unless the metric says otherwise.
        tuned = model.attributes.get("inference_settings") or {}
        self._settings = joined(tuned, settings_for_onnx(settings or {}))
        main = graphs.get("decoder") or graphs.get("model") or next(iter(graphs.values()))
        self._session = self._open(main)
        self._encoder = self._open(graphs["encoder"]) if "encoder" in graphs else None
        self._decoder: Decoder | None = None
        self._bound: tuple[Arrays, Any] | None = None
        self._io = [{"name": v.name, "dtype": _dtype(v.type), "shape": list(v.shape)} for v in _inputs(self._session)]
        self._known = known_axes(model)
        self._vocabulary = vocabulary_of(model)

    def answer(self, batch: Arrays) -> Arrays:
        if self._encoder is not None:
            return run_session(self._session, self._behind_encoder(batch))
        return run_session(self._session, self._filled(batch))

    def raw(self, batch: Arrays) -> Any:
        import torch

        outputs = {name: torch.from_numpy(np.array(value)) for name, value in self.answer(batch).items()}
        return next(iter(outputs.values())) if len(outputs) == 1 else Named(outputs)

    def generate(
        self, prompt: Sequence[int], new_tokens: int, stop: Sequence[int], source: Arrays | None = None
    ) -> list[int]:
        if self._decoder is None:
            self._decoder = Decoder(self._model, threads=self._context.threads, device=self._context.device)
        return self._decoder.generate(prompt, new_tokens, stop, source)

    def call(self, feeds: Arrays) -> None:
        if self._encoder is not None:
            run_session(self._session, self._behind_encoder(feeds))
            return
        if not self._settings.get("io_bind"):
            self._session.run(None, feeds)
            return
        if self._bound is None or self._bound[0] is not feeds:
            self._bound = feeds, self._bind(feeds)
        self._session.run_with_iobinding(self._bound[1])

    def _bind(self, feeds: Arrays) -> Any:
        """Inputs and outputs that stay on the device from call to call."""
        device = "cuda" if self._context.device == "cuda" else "cpu"
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value, device, 0))
        for output in self._session.get_outputs():
            binding.bind_output(output.name, device)
        return binding

    def prepared(self, batch: Arrays) -> Arrays:
        if self._encoder is not None:
            return batch
        types = {value["name"]: value["dtype"] for value in self._io}
        filled = self._filled(batch)
        examples = make_feeds({"inputs": self._io}, Shape(1, 1, 0, self._known), 0, self._vocabulary)
        return {name: filled[name].astype(examples[name].dtype, copy=False) for name in types}

    def example(self, batch: int, length: int) -> Arrays:
        if self._encoder is not None:
            inputs = [{"name": v.name, "dtype": _dtype(v.type), "shape": list(v.shape)} for v in _inputs(self._encoder)]
            made = make_feeds({"inputs": inputs}, Shape(batch, length, 0), 0, self._vocabulary)
            return {**made, DECODER_IDS: np.full((batch, 1), 3, np.int64)}
        return make_feeds({"inputs": self._io}, Shape(batch, length, 0, self._known), 0, self._vocabulary)

    def _filled(self, batch: Arrays) -> Arrays:
        """The batch, with what a decoder needs besides: positions and an empty cache."""
        first = next(iter(batch.values()))
        rows, length = first.shape[0] if first.ndim else 1, first.shape[1] if first.ndim > 1 else 1
        if "input_ids" in batch:
            rows, length = batch["input_ids"].shape
        names = {value["name"] for value in self._io}
        feeds = {name: value for name, value in batch.items() if name in names}
        if not feeds and len(batch) == len(self._io):  # a user's own names: in the order of the inputs
            feeds = {value["name"]: array for value, array in zip(self._io, batch.values(), strict=True)}
        missing = [value for value in self._io if value["name"] not in feeds]
        made = make_feeds({"inputs": missing}, Shape(rows, length, 0, self._known), 0, self._vocabulary)
        invented = [name for name in made if not name.startswith(("past", "position", "attention", "token_type"))]
        if invented:
            raise PassError(
                f"the data have nothing for the input {invented[0]!r}",
                f"The model takes {', '.join(sorted(names))}; the data have {', '.join(batch)}.",
            )
        return {**made, **feeds}

    def _behind_encoder(self, batch: Arrays) -> Arrays:
        """What the decoder takes once the encoder has read the source."""
        assert self._encoder is not None
        cross = cache_inputs(run_session(self._encoder, batch))
        ids = batch[DECODER_IDS]
        feeds = {**cross, "input_ids": ids}
        if "attention_mask" in batch:
            feeds["encoder_attention_mask"] = batch["attention_mask"]
        missing = [value for value in self._io if value["name"] not in feeds]
        return {**make_feeds({"inputs": missing}, Shape(*ids.shape, 0, self._known), 0, self._vocabulary), **feeds}

    def _open(self, graph: Any) -> ort.InferenceSession:
        """A session, with the options that were tuned or that the metric asks for."""
        options = dict(self._settings.get("session_options") or {})
        wanted = dict(providers_wanted(self._settings))
        absent = [name for name in wanted if name not in ort.get_available_providers()]
        here = [name for name in wanted if name not in absent] or providers_for(self._context.device)
        if absent:
            self._context.warn(f"{absent[0]} is not there on this machine: measured with {here[0]}")
        providers = [(name, wanted.get(name, {})) for name in dict.fromkeys([*here, _CPU])]
        if not options and not wanted:
            return open_session(graph, threads=self._context.threads, device=self._context.device)
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = int(options.pop("intra_op_num_threads", None) or self._context.threads)
        settings.inter_op_num_threads = int(options.pop("inter_op_num_threads", None) or 1)
        settings.log_severity_level = 4
        if (mode := options.pop("execution_mode", None)) is not None:
            settings.execution_mode = ort.ExecutionMode.ORT_PARALLEL if mode == 1 else ort.ExecutionMode.ORT_SEQUENTIAL
        if (level := options.pop("graph_optimization_level", None)) is not None:
            if level not in _LEVELS:
                raise PassError(f"graph_optimization_level is one of {', '.join(map(str, _LEVELS))}, not {level!r}")
            settings.graph_optimization_level = _LEVELS[level]
        for key, value in dict(options.pop("extra_session_config", None) or {}).items():
            settings.add_session_config_entry(str(key), str(value))
        for key in options:
            raise PassError(f"the session option {key!r} is not known", "See inference_settings in docs/measure.md.")
        try:
            return ort.InferenceSession(str(graph), settings, providers=providers)
        except ORT_ERRORS as error:
            raise PassError(f"onnxruntime cannot load {graph.name}: {str(error).splitlines()[0]}") from error


_CPU = "CPUExecutionProvider"


class GenaiRuntime(OnnxRuntime):
    """A folder that onnxruntime-genai loads: texts are generated by it, as its users will."""

    _genai: Any = None

    def generate(
        self, prompt: Sequence[int], new_tokens: int, stop: Sequence[int], source: Arrays | None = None
    ) -> list[int]:
        if source is not None:
            return super().generate(prompt, new_tokens, stop, source)
        if find_spec("onnxruntime_genai") is None:
            if self._decoder is None:
                self._context.note("onnxruntime-genai is not installed: texts are generated by onnxruntime itself")
            return super().generate(prompt, new_tokens, stop, source)
        import onnxruntime_genai as og

        if self._genai is None:
            self._genai = og.Model(str(self._model.path))
        settings = og.GeneratorParams(self._genai)
        # Its own end tokens would end the text before ours: the least length keeps it going.
        total = len(prompt) + new_tokens
        settings.set_search_options(max_length=total, min_length=total, do_sample=False, batch_size=1)
        generator = og.Generator(self._genai, settings)
        generator.append_tokens(np.array(prompt, np.int32))
        made: list[int] = []
        while len(made) < new_tokens and not generator.is_done():
            generator.generate_next_token()
            made.append(int(generator.get_next_tokens()[0]))
            if made[-1] in stop:
                break
        return made


class Named(dict[str, Any]):
    """Outputs by name, as `outputs["logits"]` and as `outputs.logits`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the model has no output {name!r}; it has: {', '.join(self)}") from None


def _inputs(session: ort.InferenceSession) -> list[Any]:
    return list(session.get_inputs())


def _dtype(kind: str) -> str:
    return kind.removeprefix("tensor(").removesuffix(")")
