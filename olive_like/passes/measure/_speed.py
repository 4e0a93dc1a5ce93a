"""Speed: repeated calls until the mean is known well, on a machine that does nothing else meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from olive_like.artifacts import Artifact
from olive_like.metrics.config import Metric
from olive_like.metrics.statistics import half_width, is_tight, summarise
from olive_like.passes.base import Context
from olive_like.passes.measure._runtimes import Runtime, open_runtime

_TIGHT = 0.02  # the mean's interval, as a part of the mean
_MOST_SECONDS = 20.0
_MOST_CALLS = 2000


def repeat(call: Callable[[], Any], settings: Mapping[str, Any], context: Context) -> list[float]:
    """Seconds of each call after warming up."""
    for _ in range(int(settings.get("warmup_num", 10))):
        call()
    least = int(settings.get("repeat_test_num", 20))
    samples: list[float] = []
    begun = time.perf_counter()
    while len(samples) < least or (
        not is_tight(samples, _TIGHT) and len(samples) < _MOST_CALLS and time.perf_counter() - begun < _MOST_SECONDS
    ):
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
        if pause := float(settings.get("sleep_num", 0)):
            time.sleep(pause)
    if not is_tight(samples, _TIGHT):
        context.note(f"latency still varied by {100 * half_width(samples) / (sum(samples) / len(samples)):.0f} %")
    return samples


def latency(metric: Metric, runtime: Runtime, context: Context) -> dict[str, tuple[float, float | None]]:
    """Milliseconds of a call, or samples per second."""
    settings = _settings(metric)
    batch = int(settings.get("batch_size", 1))
    feeds = runtime.example(batch, int(settings.get("sequence_length", 128)))
    samples = repeat(lambda: runtime.call(feeds), settings, context)
    if metric.type == "latency":
        spread = half_width(samples) * 1e3 / 1.96
        return {name: (value * 1e3, spread if name == "avg" else None) for name, value in summarise(samples).items()}
    rates = [batch / seconds for seconds in samples]
    return {
        name: (value, half_width(rates) / 1.96 if name == "avg" else None) for name, value in summarise(rates).items()
    }


def generation(metric: Metric, runtime: Runtime) -> dict[str, tuple[float, float | None]]:
    """Time to the first token and tokens per second after it; the best of three runs, after one to warm up."""
    settings = _settings(metric)
    prompt = [3 + i % 50 for i in range(int(settings.get("prompt_length", 128)))]
    tokens = int(settings.get("generation_length", 64))
    runtime.generate(prompt, 2, [])
    first, rest = [], []
    for _ in range(int(settings.get("repeat_test_num", 3))):
        start = time.perf_counter()
        runtime.generate(prompt, 1, [])
        middle = time.perf_counter()
        runtime.generate(prompt, tokens, [])
        first.append(middle - start)
        rest.append((time.perf_counter() - middle) - (middle - start))
    return {
        "time_to_first_token": (min(first) * 1e3, None),
        "tokens_per_second": ((tokens - 1) / max(min(rest), 1e-9), None),
    }


def load_time(model: Artifact, context: Context) -> dict[str, tuple[float, float | None]]:
    """Seconds from the folder to an answer."""
    start = time.perf_counter()
    runtime = open_runtime(model, context)
    runtime.call(runtime.example(1, 8))
    return {"seconds": (time.perf_counter() - start, None)}


def _settings(metric: Metric) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for sub in metric.sub_types:
        merged |= sub.metric_config
    return merged
