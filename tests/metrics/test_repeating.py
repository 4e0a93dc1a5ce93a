"""How often a call is timed: until what it takes is known well, and no longer than that."""

from __future__ import annotations

import random

import pytest

from olive_like.passes.base import Context
from olive_like.passes.measure import _speed


@pytest.fixture
def timed(tmp_path, monkeypatch):
    """Time calls whose durations are given, on a clock that only they move; the samples and the notes."""

    def run(durations, **settings):
        now, notes, calls = [0.0], [], []
        monkeypatch.setattr(_speed.time, "perf_counter", lambda: now[0])
        context = Context(tmp_path, tmp_path, emit=lambda kind, values: notes.append((kind, values)))

        def call():
            now[0] += next(durations)
            calls.append(now[0])

        samples = _speed.repeat(call, settings, context)
        return samples, calls, [values for kind, values in notes if kind == "note"]

    return run


def steady():
    while True:
        yield 0.001


def noisy(spread):
    source = random.Random(0)
    while True:
        yield 0.001 * source.uniform(1 - spread, 1 + spread)


def now_and_then(every):
    while True:
        yield from [0.001] * (every - 1)
        yield 0.1


def test_what_always_takes_the_same_is_timed_no_more_than_asked(timed):
    samples, calls, notes = timed(steady(), warmup_num=3, repeat_test_num=20)
    assert (len(samples), len(calls), notes) == (20, 23, [])


def test_what_varies_is_timed_until_its_mean_is_known(timed):
    samples, _, notes = timed(noisy(0.5), repeat_test_num=20)
    assert 300 < len(samples) < 1500  # (1.96 · 0.29 / 0.02)² is about 800
    assert _speed.half_width(samples) <= 0.02 * sum(samples) / len(samples)
    assert not notes


def test_a_few_slow_calls_are_noted_and_the_median_settles(timed):
    samples, _, notes = timed(now_and_then(30), repeat_test_num=20)
    assert len(samples) == 100
    assert "its mean is known to" in str(notes)


def test_it_ends_where_nothing_settles(timed):
    samples, _, notes = timed(noisy(0.99), repeat_test_num=20)
    assert len(samples) == 2000
    assert notes


def test_it_ends_when_it_is_told_to(timed):
    samples, _, _ = timed(noisy(0.9), warmup_num=0, repeat_test_num=5, max_seconds=0.02)
    assert 0.02 <= sum(samples) < 0.04
