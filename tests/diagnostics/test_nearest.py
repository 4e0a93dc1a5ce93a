"""The name that somebody probably meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olive_like.diagnostics.nearest import did_you_mean, distance, nearest

words = st.text("abc", max_size=6)


def reference(a: str, b: str) -> int:
    """Optimal string alignment, written as its definition reads."""
    if not a or not b:
        return max(len(a), len(b))
    best = min(reference(a[:-1], b) + 1, reference(a, b[:-1]) + 1, reference(a[:-1], b[:-1]) + (a[-1] != b[-1]))
    if len(a) > 1 and len(b) > 1 and a[-1] == b[-2] and a[-2] == b[-1]:
        best = min(best, reference(a[:-2], b[:-2]) + 1)
    return best


@given(words, words)
def test_distance(a, b):
    assert distance(a, b, 20) == reference(a, b) == distance(b, a, 20)


@given(words, words, st.integers(0, 5))
def test_a_limit_only_cuts(a, b, limit):
    assert distance(a, b, limit) == min(distance(a, b, 20), limit + 1)


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("sorce", ["source", "sources", "split"], "source"),
        ("lora_aplha", ["lora_alpha", "lora_dropout"], "lora_alpha"),
        ("OnnxDynamicQuantisation", ["OnnxDynamicQuantization", "OnnxQuantization"], "OnnxDynamicQuantization"),
        ("onnxconversion", ["OnnxConversion"], "OnnxConversion"),
        ("per-channel", ["per_channel"], "per_channel"),
        ("sed", ["seed", "system"], "seed"),
        ("eval", ["evaluators", "evaluate_input_model", "evaluator"], "evaluator"),
        ("x", ["y"], None),
        ("zebra", ["seed", "system"], None),
        ("", ["a"], None),
    ],
)
def test_nearest(name, names, expected):
    assert nearest(name, names) == expected


def test_a_few_names_are_listed_where_none_is_near():
    assert did_you_mean("zebra", ["one", "two"]) == "There is `one`, `two`."
    assert did_you_mean("zebra", [str(i) for i in range(20)]) == ""
    assert did_you_mean("zebra", []) == ""
