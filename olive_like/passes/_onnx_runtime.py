"""onnxruntime: sessions, inputs made for a graph, and greedy generation with a graph's key-value cache."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, describe_io, load_proto

Arrays = dict[str, np.ndarray]

_NUMPY: dict[str, Any] = {
    "float": np.float32,
    "float16": np.float16,
    "double": np.float64,
    "bfloat16": ml_dtypes.bfloat16,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "uint8": np.uint8,
    "bool": np.bool_,
}
# The runtime's errors have no common class of their own.
ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
# What the runtime's messages tell its own developers: codes, paths, and C++ signatures with their line.
_NOISE = (
    re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"Load model from \S+ failed:"),
    re.compile(r"/onnxruntime_src/\S+:\d+ .*?\)(?: const)? (?=[A-Z\[])"),
)
_PAST = re.compile(r"^past")
_OF_ADAPTERS = re.compile(r"\.lora_(A|B|gain|head)\.weight$")
_UNKNOWN_AXIS = 8
_SOUND = ("audio_features", "input_features")  # onnxruntime-genai's name for it, and transformers'
_LENGTHS = {"past_seq_len": -1, "total_seq_len": 0}  # the tokens in the cache afterwards, as GroupQueryAttention counts


def providers_for(device: str) -> list[str]:
    """What onnxruntime computes with on a kind of device, as far as it is there."""
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if device == "cuda" else ["CPUExecutionProvider"]
    return [name for name in providers if name in ort.get_available_providers()]


def open_session(
    path: Path,
    *,
    threads: int = 1,
    optimize: bool = True,
    device: str = "cpu",
    options: Mapping[str, str] | None = None,
    lean: bool = False,
) -> ort.InferenceSession:
    """A session on a graph; what the runtime cannot do with it becomes one line.

    A `lean` one is for few runs beside another model in memory: weights are not laid out anew for speed, which has
    them twice, and what a run took is not kept for the next.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    if not optimize:
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if lean:
        settings.enable_cpu_mem_arena = False
        options = {**(options or {}), "session.disable_prepacking": "1"}
    for key, value in (options or {}).items():
        settings.add_session_config_entry(key, value)
    try:
        return ort.InferenceSession(str(path), settings, providers=providers_for(device))
    except ORT_ERRORS as error:
        raise PassError(f"onnxruntime cannot load {path.name}: {_first_line(error)}", _hint(str(error))) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()[0]
    for noise in _NOISE:
        text = noise.sub("", text)
    return text


def _hint(text: str) -> str:
    if "is not a registered function/op" in text or "Fatal error" in text:
        return "The graph has an op that this onnxruntime does not have: register its library, or export without it."
    if "Could not find an implementation" in text:
        return "No kernel for this op and type on this device: try another `torch_dtype` or a lower `target_opset`."
    if "opset" in text.lower():
        return "Export with a lower `target_opset`, or take a newer onnxruntime."
    return ""


def run_session(session: ort.InferenceSession, feeds: Arrays, adapter: ort.LoraAdapter | None = None) -> Arrays:
    """Outputs by name; inputs that the graph does not have are left out, types are cast to what it wants.

    An `adapter` is switched on for this one request.
    """
    wanted = {value.name: value.type for value in session.get_inputs()}
    if _SOUND[0] in wanted and _SOUND[1] in feeds:
        feeds = {**feeds, _SOUND[0]: feeds[_SOUND[1]]}
    missing = [name for name in wanted if name not in feeds and not (adapter and _OF_ADAPTERS.search(name))]
    if missing:
        raise PassError(f"the graph wants the inputs {', '.join(missing[:5])}, which there are no values for")
    given = {name: feeds[name].astype(_numpy_type(kind), copy=False) for name, kind in wanted.items() if name in feeds}
    names = [value.name for value in session.get_outputs()]
    options = ort.RunOptions()
    if adapter is not None:
        options.add_active_adapter(adapter)
    try:
        results = session.run(names, given, options)
    except ORT_ERRORS as error:
        raise in_one_line(error) from error
    return dict(zip(names, results, strict=True))


def load_adapter(model: OnnxModel, name: str) -> ort.LoraAdapter:
    """One of the adapters that a model has beside its graph, by its name."""
    known: dict[str, str] = dict(model.attributes.get("adapters") or {})
    file = model.path / known.get(name, name)
    if name not in known or file.suffix != ".onnx_adapter":
        there = [one for one, path in known.items() if path.endswith(".onnx_adapter")]
        raise PassError(f"{model.path} has no adapter {name!r}", f"It has: {', '.join(there) or 'none'}.")
    loaded = ort.LoraAdapter()
    loaded.Load(str(file))
    return loaded


def in_one_line(error: BaseException) -> PassError:
    """What the runtime says while it runs a graph, without what is for its developers only."""
    return PassError(f"onnxruntime cannot run the graph: {_first_line(error)}", _hint(str(error)))


def _numpy_type(kind: str) -> Any:
    found = _NUMPY.get(kind.removeprefix("tensor(").removesuffix(")"))
    if found is None and kind != "tensor(string)":
        raise PassError(f"inputs of the type {kind} cannot be given")
    return found or np.object_


@dataclass(frozen=True)
class Shape:
    """The sizes that a graph's named axes get for one run."""

    batch: int = 1
    sequence: int = 8
    past: int = 0
    known: Mapping[str, int] = field(default_factory=dict)  # axes whose size the model's settings say

    def size(self, axis: int | str | None, position: int) -> int:
        """The size of one axis: a number, or what its name says."""
        if isinstance(axis, int):
            return axis
        if axis in self.known:
            return self.known[axis]
        name = (axis or ("batch" if position == 0 else "")).lower()
        if "+" in name or "total" in name:
            return self.past + self.sequence
        if "past" in name:
            return self.past
        if "batch" in name or position == 0:
            return self.batch
        return self.sequence if "seq" in name else _UNKNOWN_AXIS

    def __str__(self) -> str:
        return f"batch {self.batch}, sequence {self.sequence}, past {self.past}"


SHAPES = (Shape(1, 8, 0), Shape(3, 5, 0))


def make_feeds(
    io: Mapping[str, Any],
    shape: Shape,
    seed: int = 0,
    vocabulary: int = 100,
    past: Mapping[str, np.ndarray] | None = None,
) -> Arrays:
    """Inputs for a graph: tokens, masks and positions that fit each other, anything else at random.

    `past` has the real cache of an earlier run, by the names of the inputs.
    """
    random = np.random.default_rng(seed)
    shape = replace(shape, sequence=_new_tokens(io, shape))
    feeds: Arrays = {}
    for value in io["inputs"]:
        name, dtype = value["name"], _NUMPY.get(value["dtype"])
        if dtype is None:
            raise PassError(f"no values can be made up for the input {name}, which is {value['dtype'] or 'no tensor'}")
        sizes = [shape.size(axis, position) for position, axis in enumerate(value["shape"] or [])]
        if past and name in past:
            given: Any = past[name]
        elif name in _LENGTHS:
            given = np.full(sizes, shape.past + shape.sequence + _LENGTHS[name], dtype)
        else:
            given = _fill(name, sizes, dtype, shape, random, vocabulary)
        feeds[name] = np.asarray(given)  # of no axes, numpy makes scalars, which onnxruntime does not take
    return feeds


def _new_tokens(io: Mapping[str, Any], shape: Shape) -> int:
    """How many tokens go in at once: the shape's, or what the graph insists on."""
    axes = next((value["shape"] for value in io["inputs"] if value["name"] in ("input_ids", "inputs_embeds")), None)
    return shape.size(axes[1], 1) if axes and len(axes) > 1 else shape.sequence


def _fill(name: str, sizes: list[int], dtype: Any, shape: Shape, random: Any, vocabulary: int) -> Any:
    kind = name.lower()
    if "position_ids" in kind:
        return np.broadcast_to(np.arange(shape.past, shape.past + sizes[-1]), sizes).astype(dtype)
    if "mask" in kind:
        return np.ones(sizes, dtype)
    if "token_type" in kind:
        return np.zeros(sizes, dtype)
    if kind.endswith("input_ids"):
        return random.integers(min(3, vocabulary - 1), vocabulary, sizes).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        return random.integers(0, 2, sizes).astype(dtype)
    if dtype is np.bool_:
        return np.ones(sizes, dtype)
    return (random.standard_normal(sizes) * 0.5).astype(dtype)


def vocabulary_of(model: OnnxModel) -> int:
    """How many tokens the model knows: its attributes, else its config, else a hundred."""
    if "vocab_size" in model.attributes:
        return int(model.attributes["vocab_size"])
    folder = model.path if model.path.is_dir() else model.path.parent
    for name, key in (("config.json", "vocab_size"), ("genai_config.json", "model")):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text("utf-8")).get(key)
            found = found.get("vocab_size") if isinstance(found, dict) else found
            if isinstance(found, int):
                return found
    return 100


def known_axes(model: OnnxModel) -> dict[str, int]:
    """Sizes of axes that a graph leaves open although they never change: onnxruntime-genai's width of a head."""
    size = (model.attributes.get("kv_cache") or {}).get("head_size")
    folder = model.path if model.path.is_dir() else model.path.parent
    if size is None and (folder / "genai_config.json").is_file():
        settings = json.loads((folder / "genai_config.json").read_text("utf-8"))
        size = settings.get("model", {}).get("decoder", {}).get("head_size")
    return {"kv_cache_dim": size} if size else {}


def gives_last_only(io: Mapping[str, Any]) -> bool:
    """Whether a graph that reads any number of tokens gives logits of the last one alone."""
    shapes = [value["shape"] for value in io["outputs"] if value["name"] == "logits"]
    return bool(shapes and shapes[0]) and len(shapes[0]) == 3 and shapes[0][1] == 1


def cache_inputs(present: Arrays) -> Arrays:
    """What the outputs of one step are called as inputs of the next."""
    return {past_name(name): value for name, value in present.items() if past_name(name) != name}


def past_name(name: str) -> str:
    """`present.0.key` -> `past_key_values.0.key`, `present_key_self_0` -> `past_key_self_0`; others as they are."""
    if name.startswith("present_"):  # as onnxruntime-genai's builder has it for an encoder and a decoder
        return "past_" + name.removeprefix("present_")
    if not name.startswith("present."):
        return name
    # Keys and values, or what a layer of linear attention remembers.
    return ("past_key_values" if name.endswith(("key", "value")) else "past") + name.removeprefix("present")


class Decoder:
    """Greedy generation with a graph that takes and gives a key-value cache."""

    def __init__(self, model: OnnxModel, *, threads: int = 1, device: str = "cpu", lean: bool = False) -> None:
        graphs = components(model)
        opened = partial(open_session, threads=threads, device=device, lean=lean)
        self._session = opened(graphs.get("decoder") or graphs["model"])
        self._encoder = opened(graphs["encoder"]) if "encoder" in graphs else None
        self._known = known_axes(model)
        self._never, self._not_first = _suppressed(model)
        active = model.attributes.get("active_adapter")
        self._adapter = load_adapter(model, active) if active else None
        self._inputs = {value.name: value for value in self._session.get_inputs()}
        if not any(_PAST.match(name) for name in self._inputs):
            raise PassError(
                f"{model.path.name} has no key-value cache to generate with", "Export it as text-generation."
            )

    def generate(
        self, prompt: Sequence[int], new_tokens: int, stop: Sequence[int] = (), source: Arrays | None = None
    ) -> list[int]:
        """The most likely tokens after the prompt; `source` is what an encoder reads first."""
        fixed: Arrays = {}
        if self._encoder is not None:
            fixed = cache_inputs(run_session(self._encoder, source or {}))
            if "encoder_attention_mask" in self._inputs and source:
                fixed["encoder_attention_mask"] = source["attention_mask"]
        cache = {name: value for name, value in self._empty_cache().items() if name not in fixed}
        made: list[int] = []
        tokens, seen = list(prompt), 0
        while len(made) < new_tokens:
            feeds = {**fixed, **cache, **self._step(tokens, seen)}
            outputs = run_session(self._session, feeds, self._adapter)
            seen += len(tokens)
            scores = outputs["logits"][0, -1].astype(np.float32)
            silent = self._never if made else [*self._never, *self._not_first]
            # A configuration may name tokens that a smaller vocabulary does not have.
            scores[[token for token in silent if token < scores.size]] = -np.inf
            token = int(np.argmax(scores))
            made.append(token)
            if token in stop:
                break
            tokens = [token]
            cache = {name: value for name, value in cache_inputs(outputs).items() if name in cache}
        return made

    def prefill(self, prompt: Sequence[int]) -> np.ndarray:
        """The logits of a prompt."""
        outputs = run_session(self._session, {**self._empty_cache(), **self._step(list(prompt), 0)}, self._adapter)
        return outputs["logits"].astype(np.float32)

    def _step(self, tokens: list[int], seen: int) -> Arrays:
        positions = np.arange(seen, seen + len(tokens), dtype=np.int64)[None]
        wanted = self._inputs.get("position_ids")
        if wanted is not None and len(wanted.shape) == 3:  # of time, height and width, which are one in text
            positions = np.broadcast_to(positions, (wanted.shape[0], *positions.shape))
        return {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, seen + len(tokens)), np.int64),
            "position_ids": positions,
        }

    def _empty_cache(self) -> Arrays:
        empty = Shape(1, 0, 0, self._known)
        return {
            name: np.zeros([empty.size(axis, i) for i, axis in enumerate(value.shape)], _numpy_type(value.type))
            for name, value in self._inputs.items()
            if _PAST.match(name)
        }


def _suppressed(model: OnnxModel) -> tuple[list[int], list[int]]:
    """Tokens that are never written, and those that no text begins with, as the folder's generation config says."""
    file = (model.path if model.path.is_dir() else model.path.parent) / "generation_config.json"
    said = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    never, first = (said.get(name) or [] for name in ("suppress_tokens", "begin_suppress_tokens"))
    return [int(token) for token in never if token >= 0], [int(token) for token in first if token >= 0]


def describe_graph(path: Path) -> dict[str, Any]:
    """Inputs and outputs of a graph on disk."""
    return describe_io(load_proto(path))
