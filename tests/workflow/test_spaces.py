"""Settings that are left open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olive_like.workflow.read import read
from olive_like.workflow.spaces import BadSpace, find_spaces, is_space, parse_space


def entry(**settings):
    return {"passes": {"a": {"type": "Null", **settings}}}


@pytest.mark.parametrize(
    ("written", "short", "first"),
    [
        ({"choice": [3, 1]}, {"choice": [3, 1]}, 3),
        ({"int": [2, 9]}, {"int": [2, 9]}, 2),
        ({"int": [2, 8], "step": 2}, {"int": [2, 8], "step": 2}, 2),
        ({"float": [1e-6, 1], "log": True}, {"float": [1e-6, 1.0], "log": True}, 1e-6),
        ({"type": "float", "low": 0, "high": 1}, {"float": [0.0, 1.0]}, 0.0),
        ({"type": "loguniform", "min": 0.1, "max": 1}, {"float": [0.1, 1.0], "log": True}, 0.1),
        ({"type": "int", "low": 8, "high": 64}, {"int": [8, 64]}, 8),
        ({"type": "choice", "values": [8, 16]}, {"choice": [8, 16]}, 8),
        ({"type": "Categorical", "support": ["a", "b"]}, {"choice": ["a", "b"]}, "a"),
        ({"type": "Boolean"}, {"choice": [True, False]}, True),
    ],
)
def test_forms(written, short, first):
    assert is_space(written)
    space = parse_space(written)
    assert space.to_json() == short
    assert space.first == first
    assert parse_space(space.to_json()) == space


@pytest.mark.parametrize(
    "value",
    [3, "choice", [1, 2], {}, {"choice": 3}, {"choice": [1], "x": 2}, {"int": 3}, {"type": "int"}, {"type": "LoRA"},
     {"type": "int", "name": "x"}, {"low": 1, "high": 2}],
)  # fmt: skip
def test_what_is_an_ordinary_value(value):
    assert not is_space(value)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"choice": []}, "at least one"),
        ({"int": [9, 2]}, "above"),
        ({"int": [1, 2, 3]}, "two bounds"),
        ({"int": [1, 2.5]}, "whole number"),
        ({"int": [True, 2]}, "whole number"),
        ({"float": ["a", 2]}, "a number"),
        ({"float": [0, 1], "log": True}, "above 0"),
        ({"float": [0, 1], "log": 3}, "true or false"),
        ({"float": [0, 1], "step": 0}, "above 0"),
        ({"float": [1, 2], "step": 1, "log": True}, "go together"),
        ({"type": "float", "low": 1}, "high bound"),
        ({"type": "choice", "low": 3}, "at least one"),
    ],
)
def test_spaces_that_make_no_sense(written, words):
    with pytest.raises(BadSpace, match=words):
        parse_space(written)
    (problem,) = read(entry(seconds=written)).diagnostics
    assert problem.code == "OL111"
    assert problem.field.startswith("passes.a.seconds")


def test_the_entry_has_first_points_and_spaces():
    workflow = read(entry(bytes={"choice": [5, 6]}, seconds={"float": [0, 1]}, fail=False)).require()
    a = workflow.passes["a"]
    assert (a.config.bytes, a.config.seconds, a.config.fail) == (5, 0.0, False)
    assert a.settings == {"bytes": 5, "seconds": 0.0, "fail": False}
    assert {path: space.to_json() for path, space in a.spaces.items()} == {
        ("bytes",): {"choice": [5, 6]},
        ("seconds",): {"float": [0.0, 1.0]},
    }


def test_every_choice_and_both_bounds_are_tried(tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text(
        "passes:\n"
        "  a: {type: Null, bytes: {choice: [1, x, 3, -4]}}\n"
        "  b: {type: Null, bytes: {choice: [y, 2]}}\n"
        "  c: {type: Null, bytes: {int: [-5, 3]}}\n"
        "  d: {type: Null, config: {seconds: {float: [-1, 3]}}}\n"
        "  e: {type: Null, bytes: {choice: []}, fail: maybe}\n"
    )
    assert [(d.code, d.line, d.column) for d in read(path).diagnostics] == [
        ("OL103", 2, 39), ("OL105", 2, 45), ("OL103", 3, 36), ("OL105", 4, 33), ("OL105", 5, 46),
        ("OL111", 6, 26), ("OL103", 6, 46),
    ]  # fmt: skip


def test_alternatives_under_one_name():
    workflow = read({"passes": {"a": [{"type": "Null", "bytes": 1}, {"type": "Null", "bytes": 2}]}}).require()
    a = workflow.passes["a"]
    assert a.config.bytes == 1
    assert [other.config.bytes for other in a.alternatives] == [2]


@given(
    st.recursive(st.integers() | st.text(max_size=3), lambda x: st.dictionaries(st.text(max_size=4), x), max_leaves=8)
)
def test_spaces_are_found_wherever_they_stand(settings):
    space = {"int": [1, 2]}
    nested = {"x": settings, "open": space, "inside": {"deep": space}}
    paths = {path for path, _ in find_spaces(nested)}
    assert {("open",), ("inside", "deep")} <= paths
