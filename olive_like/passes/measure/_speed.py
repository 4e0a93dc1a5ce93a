"""Speed: repeated calls until the middle is known well, on a machine that does nothing else meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from olive_like.artifacts import Artifact
from olive_like.metrics.config import Metric
from olive_like.metrics.statistics import half_width, is_tight, median_half_width, percentile, summarise
from olive_like.passes.base import Context
from olive_like.passes.measure._runtimes import Arrays, Runtime, open_runtime

Found = dict[str, tuple[float, float | None]]

TIGHT = 0.02  # the interval of mean or median, as a part of it
_MOST_SECONDS = 20.0
_MOST_CALLS = 2000
_CHECKED_EVERY = 10  # calls
_SIGMAS = 1.96  # from the 95 % interval to one standard error


def repeat(call: Callable[[], Any], settings: Mapping[str, Any], context: Context) -> list[float]:
    """Seconds of each call after warming up."""
    for _ in range(int(settings.get("warmup_num", 10))):
        call()
    least = int(settings.get("repeat_test_num", 20))
    pause = float(settings.get("sleep_num", 0))
    longest = float(settings.get("max_seconds", _MOST_SECONDS))
    samples: list[float] = []
    begun = time.perf_counter()
    while len(samples) < least or not _enough(samples, time.perf_counter() - begun, longest):
        for _ in range(_CHECKED_EVERY if len(samples) >= least else least):
            start = time.perf_counter()
            call()
            samples.append(time.perf_counter() - start)
            if pause:
                time.sleep(pause)
    if not is_tight(samples, TIGHT):
        mean, middle = sum(samples) / len(samples), percentile(samples, 50)
        context.note(
            f"the time of a call varied: its mean is known to {100 * half_width(samples) / mean:.0f} % after "
            f"{len(samples)} calls, its median (p50) to {100 * median_half_width(samples) / middle:.0f} %"
        )
    return samples


def _enough(samples: Sequence[float], seconds: float, longest: float) -> bool:
    """A few slow calls keep the mean from settling where others use the machine; the median settles all the same."""
    if len(samples) >= _MOST_CALLS or seconds >= longest or is_tight(samples, TIGHT):
        return True
    return median_half_width(samples) <= TIGHT * percentile(samples, 50) and len(samples) >= 100


def latency(metric: Metric, runtime: Runtime, feeds: Arrays | None, context: Context) -> Found:
    """Milliseconds of a call, or samples per second; on the data's first batch where there are data."""
    settings = settings_of(metric)
    batch = int(settings.get("batch_size", 1))
    if feeds is None:
        ready = runtime.example(batch, int(settings.get("sequence_length", 128)))
    else:
        ready = runtime.prepared(feeds)
        batch = len(next(iter(feeds.values())))
    samples = repeat(lambda: runtime.call(ready), settings, context)
    values = [1e3 * seconds for seconds in samples] if metric.type == "latency" else [batch / s for s in samples]
    spreads = {"avg": half_width(values) / _SIGMAS, "p50": median_half_width(values) / _SIGMAS}
    return {name: (value, spreads.get(name)) for name, value in summarise(values).items()}


def generation(metric: Metric, runtime: Runtime, context: Context) -> Found:
    """Time to the first token and tokens per second after it: the median over repetitions, after one to warm up."""
    settings = settings_of(metric)
    prompt = [3 + i % 50 for i in range(int(settings.get("prompt_length", 128)))]
    tokens = int(settings.get("generation_length", 64))
    times = int(settings.get("repeat_test_num", 5))
    runtime.generate(prompt, 2, [])
    first, rates = [], []
    for done in range(times):
        start = time.perf_counter()
        runtime.generate(prompt, 1, [])
        middle = time.perf_counter()
        runtime.generate(prompt, tokens, [])
        end = time.perf_counter()
        first.append(1e3 * (middle - start))
        rates.append((tokens - 1) / max((end - middle) - (middle - start), 1e-9))
        context.progress(done + 1, times)
    return {"time_to_first_token": _middle(first), "tokens_per_second": _middle(rates)}


def load_time(model: Artifact, metric: Metric, context: Context) -> Found:
    """Seconds from the folder to an answer: the median of three times, what was read once being in memory."""
    times = []
    settings = metric.user_config.inference_settings
    context = replace(context, memory=lambda _, load: load())  # what an earlier pass left loaded is no load
    for _ in range(int(settings_of(metric).get("repeat_test_num", 3)) + 1):
        start = time.perf_counter()
        runtime = open_runtime(model, context, settings=settings)
        runtime.call(runtime.example(1, 8))
        times.append(time.perf_counter() - start)
    return {"seconds": _middle(times[1:])}  # the first imports libraries


def _middle(samples: Sequence[float]) -> tuple[float, float | None]:
    spread = half_width(samples) / _SIGMAS if len(samples) > 2 else None
    return percentile(samples, 50), spread


def settings_of(metric: Metric) -> dict[str, Any]:
    """The settings of all values of a metric together."""
    merged: dict[str, Any] = {}
    for sub in metric.sub_types:
        merged |= sub.metric_config
    return merged
