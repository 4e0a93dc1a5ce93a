"""How fast a language model writes before and after it is quantised: a figure for the summary, not for the artifact."""

from __future__ import annotations

import time
from statistics import median

from olive_like.artifacts import OnnxModel
from olive_like.errors import PassError
from olive_like.passes._onnx_files import describe_io, graph_file, load_proto
from olive_like.passes._onnx_rewrite import COMPARE_UP_TO, model_bytes
from olive_like.passes._onnx_runtime import Decoder, vocabulary_of
from olive_like.passes.base import Context

_TURNS = 3
_SECONDS = 0.4  # of each turn, about
_MOST_TOKENS = 32


def tell_speed(before: OnnxModel, after: OnnxModel, wanted: bool | None, context: Context) -> None:
    """Tokens per second into the record. `wanted`: None measures models that are not large."""
    if wanted is False or not _writes_text(before):
        return
    size = model_bytes(before)
    if wanted is None and size > COMPARE_UP_TO:
        context.note(
            f"tokens per second were not measured: the model has {size:,} bytes, which would all be in memory; "
            "`measure_speed: true` measures at any size"
        )
        return
    try:
        old, new = _rates(before, after, context)
    except PassError as error:  # one of them cannot run here, which is no fault of the quantisation
        context.note(f"tokens per second were not measured: {error.message}")
        return
    context.metric("tokens_per_second_before", round(old, 2))
    context.metric("tokens_per_second_after", round(new, 2))
    context.note(f"writes {new:.1f} tokens/s, {old:.1f} before ({new / old:.2f} times as fast)")


def _writes_text(model: OnnxModel) -> bool:
    """Whether it is one graph that takes tokens and a cache."""
    if model.attributes.get("components") or model.attributes.get("siblings"):
        return False
    io = describe_io(load_proto(graph_file(model)))
    inputs, outputs = ({value["name"] for value in io[side]} for side in ("inputs", "outputs"))
    return "input_ids" in inputs and "logits" in outputs and any(name.startswith("past") for name in inputs)


def _rates(before: OnnxModel, after: OnnxModel, context: Context) -> tuple[float, float]:
    """Medians of short turns, the two models by turns, so that what else the machine does meets both."""
    decoders = [Decoder(model, threads=context.threads, device=context.device) for model in (before, after)]
    prompt = [min(3, vocabulary_of(before) - 1)]
    counts = []
    for decoder in decoders:
        decoder.generate(prompt, 1)
        counts.append(max(2, min(_MOST_TOKENS, round(_SECONDS / _seconds(decoder, prompt, 2) * 2))))
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TURNS):
        for decoder, count, found in zip(decoders, counts, rates, strict=True):
            found.append(count / _seconds(decoder, prompt, count))
    return median(rates[0]), median(rates[1])


def _seconds(decoder: Decoder, prompt: list[int], tokens: int) -> float:
    start = time.perf_counter()
    decoder.generate(prompt, tokens)
    return time.perf_counter() - start
