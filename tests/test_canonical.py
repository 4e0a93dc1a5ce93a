"""The canonical encoding: equal means equal in value and type."""

import copy
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olive_like.canonical import digest, encode

finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | finite | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def typed(value):
    """The value with every type written out, as an independent notion of equality."""
    if isinstance(value, list):
        return ("list", [typed(item) for item in value])
    if isinstance(value, dict):
        return ("dict", sorted((key, typed(item)) for key, item in value.items()))
    return (type(value).__name__, repr(value + 0.0) if isinstance(value, float) else repr(value))


@given(values, values)
def test_equal_encodings_mean_equal_values(one, other):
    assert (encode(one) == encode(other)) == (typed(one) == typed(other))


@given(st.dictionaries(st.text(), values, min_size=2))
def test_the_order_of_keys_does_not_matter(mapping):
    assert digest(mapping) == digest(dict(reversed(mapping.items())))


@given(values)
def test_encoding_leaves_its_argument_alone(value):
    before = copy.deepcopy(value)
    encode(value)
    assert typed(value) == typed(before)


def test_numbers_that_look_alike_differ():
    assert len({digest(value) for value in (1, "1", 1.0, True, [1], {"1": 1}, b"1")}) == 7


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {1, 2}, object(), {1: 2}])
def test_what_has_no_single_meaning_is_refused(value):
    with pytest.raises((ValueError, TypeError)):
        digest({"a": [value]})


def test_negative_zero_is_zero():
    assert digest(-0.0) == digest(0.0)


def test_golden():
    """Frozen: a change here orphans every cache in the world."""
    document = {"schema": 1, "settings": {"r": 8, "alpha": 16.0, "bias": None, "on": True, "names": ["q", "v"]}}
    assert digest(document) == "c923f5930a127f236876ca881509617bcb5f3dc96d2f8c7da19f8e8b292bf54e"


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", "LC_ALL": "C", "TZ": "Asia/Tokyo"}, {"LANG": "tr_TR.UTF-8"}],
)
def test_the_environment_does_not_matter(environment, tmp_path):
    value = {"ä": [1, 2.5, None], "b": {"c": "İ", "a": True}}
    code = f"import json; from olive_like.canonical import digest; print(digest(json.loads({json.dumps(value)!r})))"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, cwd=tmp_path, capture_output=True, text=True
    )
    assert run.stdout.strip() == digest(value), run.stderr
