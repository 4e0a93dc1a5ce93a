"""Does a model still do the same: outputs before and after, compared and judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from onnx import ModelProto

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import components, describe_io, load_proto
from olive_like.passes._onnx_runtime import (
    Arrays,
    Shape,
    cache_inputs,
    gives_last_only,
    known_axes,
    make_feeds,
    open_session,
    run_session,
    vocabulary_of,
)
from olive_like.passes.base import Context

Mode = Literal["off", "warn", "fail"]

# Largest difference that is rounding, by what the model computes in; times the largest value where that is over 1.
TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}

# Attention that takes one new token at a time of a batch with a cache.
_ONE_BY_ONE = "GroupQueryAttention"
_BIAS = 10  # of its inputs, what is added to the scores: a mask


class NotComparable(PassError):
    """The model from before cannot be run here, so there is nothing to compare with."""


@dataclass
class Comparison:
    """Differences gathered over outputs and runs."""

    max_abs_diff: float = 0.0
    max_rel_diff: float = 0.0  # of the largest value in the same output
    scaled: float = 0.0  # absolute where values are below 1, relative above: what is judged
    worst: str = ""  # the output that `scaled` is from
    broken: list[str] = field(default_factory=list)  # outputs with NaN or Inf where there was none
    blank: list[str] = field(default_factory=list)  # outputs that had nothing else before
    same_top: int = 0
    positions: int = 0
    divergence: float = 0.0
    runs: int = 0

    def add(self, name: str, expected: np.ndarray, got: np.ndarray) -> None:
        """Take one output of one run into account."""
        if expected.shape != got.shape:
            raise PassError(f"the output {name} had the shape {expected.shape} before and has {got.shape} now")
        if expected.size == 0:
            return
        if expected.dtype == np.object_:  # text is the same or not
            expected, got = np.zeros(expected.shape), (expected != got).astype(np.float64)
        before, after = expected.astype(np.float64), got.astype(np.float64)
        finite = np.isfinite(before)
        if not finite.any():
            self.blank.append(name)
            return
        if not np.isfinite(after[finite]).all():
            self.broken.append(name)
            return
        difference = float(np.abs(before[finite] - after[finite]).max(initial=0.0))
        largest = float(np.abs(before[finite]).max(initial=0.0))
        self.max_abs_diff = max(self.max_abs_diff, difference)
        self.max_rel_diff = max(self.max_rel_diff, difference / largest if largest else 0.0)
        scaled = difference / max(1.0, largest)
        if scaled > self.scaled or not self.worst:
            self.scaled, self.worst = scaled, name
        if name == "logits" and before.ndim >= 2 and before.shape[-1] > 1:
            self._add_logits(before, after)

    def merge(self, other: Comparison) -> None:
        """Take in what another comparison found."""
        if other.scaled > self.scaled or not self.worst:
            self.scaled, self.worst = other.scaled, other.worst
        self.max_abs_diff = max(self.max_abs_diff, other.max_abs_diff)
        self.max_rel_diff = max(self.max_rel_diff, other.max_rel_diff)
        self.broken += other.broken
        self.blank += other.blank
        self.same_top += other.same_top
        self.positions += other.positions
        self.divergence += other.divergence
        self.runs += other.runs

    def _add_logits(self, before: np.ndarray, after: np.ndarray) -> None:
        before, after = before.reshape(-1, before.shape[-1]), after.reshape(-1, after.shape[-1])
        self.same_top += int((before.argmax(-1) == after.argmax(-1)).sum())
        self.positions += len(before)
        p, q = _log_softmax(before), _log_softmax(after)
        self.divergence += float((np.exp(p) * (p - q)).sum())

    @property
    def top1(self) -> float | None:
        return self.same_top / self.positions if self.positions else None

    @property
    def kl(self) -> float | None:
        return max(0.0, self.divergence / self.positions) if self.positions else None


def _log_softmax(values: np.ndarray) -> Any:
    shifted = values - values.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def compare_outputs(expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], into: Comparison) -> None:
    """Compare what two models gave for the same inputs; outputs that only one has do not count."""
    common = [name for name in expected if name in got]
    if not common:
        raise PassError(f"no output has the same name before and after: {', '.join(expected)} / {', '.join(got)}")
    for name in common:
        into.add(name, expected[name], got[name])
    into.runs += 1


def compare_models(before: OnnxModel, after: OnnxModel, context: Context, past: tuple[int, ...] = (0, 7)) -> Comparison:
    """Run two ONNX models on the same generated inputs, decoders with an empty and a filled cache.

    Axes that the new model has fixed take its sizes. One session is open at a time.
    """
    result = Comparison()
    old, new = components(before), components(after)
    for name in new:
        if name in old:
            _compare_graphs(old[name], new[name], before, context, past, result)
    return result


def _compare_graphs(
    old: Path, new: Path, model: OnnxModel, context: Context, past: tuple[int, ...], result: Comparison
) -> None:
    vocabulary, known = vocabulary_of(model), known_axes(model)
    feeds: list[Arrays] = []
    expected: list[Arrays] = []
    try:
        session = open_session(old, threads=context.threads, device=context.device)
        graphs = [load_proto(path) for path in (old, new)]
        io = _fixed_by(*(describe_io(graph) for graph in graphs))
        has_past = any(value["name"].startswith("past") for value in io["inputs"])
        one_by_one = any(node.op_type == _ONE_BY_ONE for graph in graphs for node in graph.graph.node)
        for index, batch in enumerate((1, 3)):
            length = past[index % len(past)] if has_past else 0
            cache = _filled_cache(session, io, Shape(batch, length, 0, known), vocabulary) if length else None
            steps = 1 if one_by_one and length else 6
            feeds.append(make_feeds(io, Shape(batch, steps, length, known), index, vocabulary, cache))
            expected.append(run_session(session, feeds[-1]))
        padded = _padded(session, io, known, vocabulary) if _takes_padding(graphs, io) else None
        if gives_last_only(describe_io(graphs[1])):
            expected = [_of_last(outputs) for outputs in expected]
    except PassError as error:
        raise NotComparable(f"{old.name} could not be run as it was before: {error.message}", error.hint) from error
    del session
    session = open_session(new, threads=context.threads, device=context.device)
    for values, outputs in zip(feeds, expected, strict=True):
        compare_outputs(outputs, run_session(session, values), result)
    if padded is not None:
        compare_outputs(padded, _padded(session, io, known, vocabulary), result)


def _of_last(outputs: Arrays) -> Arrays:
    """Outputs with the logits of the last position alone."""
    return {name: value[:, -1:] if name == "logits" else value for name, value in outputs.items()}


def _padded(session: Any, io: Mapping[str, Any], known: Mapping[str, int], vocabulary: int) -> Arrays:
    """Logits of a step behind prompts of two lengths, the shorter with padding before it; each on its own cache.

    What stands where there is padding is anything, so nothing else is told.
    """
    random, length, padding = np.random.default_rng(5), 6, 2
    tokens = random.integers(min(3, vocabulary - 1), vocabulary, (2, length + 1))
    mask = np.ones_like(tokens)
    mask[0, :padding] = 0
    positions = np.maximum(mask.cumsum(-1) - 1, 0)
    cache: Arrays | None = None
    outputs: Arrays = {}
    for start, end in ((0, length), (length, length + 1)):
        feeds = make_feeds(io, Shape(2, end - start, start, known), 0, vocabulary, cache)
        given = {"input_ids": tokens[:, start:end], "position_ids": positions[:, start:end]}
        given["attention_mask"] = mask[:, :end]
        outputs = run_session(session, feeds | {name: value for name, value in given.items() if name in feeds})
        cache = cache_inputs(outputs)
    return {"logits": outputs["logits"]}


def _takes_padding(graphs: Iterable[ModelProto], io: Mapping[str, Any]) -> bool:
    """Whether graphs are decoders with open axes whose mask may begin with zeros; GroupQueryAttention without a mask
    takes padding on the right only.
    """
    grouped = [node for graph in graphs for node in graph.graph.node if node.op_type == _ONE_BY_ONE]
    if any(len(node.input) <= _BIAS or not node.input[_BIAS] for node in grouped):
        return False
    shapes = {value["name"]: value["shape"] for value in io["inputs"]}
    wanted = [shapes.get(name) for name in ("input_ids", "attention_mask")]
    cache = [shape for name, shape in shapes.items() if name.startswith("past")]
    if not cache or "logits" not in {value["name"] for value in io["outputs"]}:
        return False
    return all(shape and not any(isinstance(axis, int) for axis in shape) for shape in wanted) and all(
        shape and not isinstance(shape[0], int) and not isinstance(shape[2], int) for shape in cache
    )


def _filled_cache(session: Any, io: Mapping[str, Any], shape: Shape, vocabulary: int) -> Arrays | None:
    """A cache as the model itself fills it: random numbers would be unlike any that it ever sees."""
    wanted = {value["name"]: value["shape"] for value in io["inputs"]}
    cache = cache_inputs(run_session(session, make_feeds(io, shape, 77, vocabulary)))
    fits = all(name not in wanted or _fits(value.shape, wanted[name]) for name, value in cache.items())
    return cache if fits else None


def _fits(sizes: tuple[int, ...], axes: list[int | str | None]) -> bool:
    return all(not isinstance(axis, int) or axis == size for size, axis in zip(sizes, axes, strict=True))


def _fixed_by(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old inputs with those sizes that the new model has fixed."""
    shapes = {value["name"]: value["shape"] for value in new["inputs"]}
    inputs = []
    for value in old["inputs"]:
        other = shapes.get(value["name"])
        if other is not None and value["shape"] is not None and len(other) == len(value["shape"]):
            merged = [n if isinstance(n, int) else o for o, n in zip(value["shape"], other, strict=True)]
            value = {**value, "shape": merged}
        inputs.append(value)
    return {**old, "inputs": inputs}


def judge(result: Comparison, mode: Mode, tolerance: float, context: Context) -> dict[str, Any]:
    """Record a comparison, and warn or fail where it is over the tolerance; gives what goes into attributes.

    An infinite tolerance reports differences and objects only to NaN and Inf.

    Attributes hold rounded figures: they are part of the artifact's identity, and the last digits of a difference
    depend on the machine.
    """
    context.metric("verify.max_abs_diff", result.max_abs_diff)
    context.metric("verify.max_rel_diff", result.max_rel_diff)
    if result.top1 is not None and result.kl is not None:
        context.metric("verify.top1_agreement", result.top1)
        context.metric("verify.kl", result.kl)
    if result.blank:
        names = ", ".join(sorted(set(result.blank))[:3])
        context.warn(f"not compared: {names} had nothing but NaN or Inf before this pass")
    if result.broken:
        complain(f"the result has NaN or Inf in {', '.join(sorted(set(result.broken))[:3])}", mode, context)
    elif result.scaled > tolerance:
        complain(
            f"the output {result.worst} differs by {result.scaled:.2g} from what it was, "
            f"more than the {tolerance:.2g} that is allowed",
            mode,
            context,
        )
    recorded: dict[str, Any] = {"runs": result.runs, "max_diff_below": _decade(result.scaled)}
    if math.isfinite(tolerance):
        recorded["tolerance"] = tolerance
    if result.top1 is not None:
        recorded["top1_agreement"] = round(result.top1, 3)
    return recorded


def complain(text: str, mode: Mode, context: Context) -> None:
    """Say what is wrong, as loudly as the settings ask."""
    if mode == "fail":
        raise PassError(text, "`verify: warn` keeps the result and says so; `verify_tolerance` moves the limit.")
    if mode == "warn":
        context.warn(text)


def _decade(value: float) -> float:
    """The next power of ten above a difference."""
    return 10.0 ** math.ceil(math.log10(value)) if value > 1e-9 else 1e-9


def verify_models(
    before: OnnxModel, after: OnnxModel, mode: Mode, tolerance: float, context: Context
) -> dict[str, Any] | None:
    """The whole check of a pass from ONNX to ONNX: what it returns belongs into the attribute `verified`.

    A model that cannot be run before the pass (an op of a library that is not loaded, inputs that cannot be made up)
    is not compared, and a warning says so; one that cannot be run after it is an error.
    """
    if mode == "off":
        return None
    try:
        comparison = compare_models(before, after, context)
    except NotComparable as error:
        if mode == "fail":
            raise
        context.warn(f"not compared: {error.message}")
        return None
    return judge(comparison, mode, tolerance, context)
