"""What files may and may not hold."""

from __future__ import annotations

import pytest

from olive_like.workflow.loader import load, loads
from olive_like.workflow.located import LocatedDict, Mark, find_mark


def problems(text: str, file: str = "x.yaml") -> list[tuple[str, int, int]]:
    return [(d.code, d.line, d.column) for d in loads(text, file).diagnostics]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-5", 1e-5), ("1E5", 1e5), ("1.", 1.0), (".5", 0.5), ("-1.5e+3", -1500.0), ("+3", 3), ("-0", 0),
        ("0", 0), ("12", 12), ("0x1F", 31), ("true", True), ("False", False), ("~", None), ("null", None), ("", None),
        ("'1'", "1"), ('"yes"', "yes"), ("y", "y"), ("n", "n"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3"),
        ("1e", "1e"), ("e5", "e5"), ("0.1.0", "0.1.0"), ("10GB", "10GB"), ("train[:10%]", "train[:10%]"),
        ("Null", None), ("nan", "nan"), ("!!str 12", "12"), ("! 12", "12"), ("!!int 12", 12), ("-", None),
    ],
)  # fmt: skip
def test_scalars(written, value):
    if written == "-":
        assert loads("a:\n- \n", "x.yaml").tree == {"a": [None]}
        return
    loaded = loads(f"a: {written}", "x.yaml")
    assert loaded.diagnostics == []
    assert loaded.tree == {"a": value}
    assert type(loaded.tree["a"]) is type(value)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("yes", "OL008"), ("No", "OL008"), ("ON", "OL008"), ("off", "OL008"),
        ("010", "OL008"), ("0o17", "OL008"), ("0b11", "OL008"), ("1_000", "OL008"), ("1:30", "OL008"),
        ("190:20:30.15", "OL008"), ("-0x1f", "OL008"),
        (".inf", "OL009"), ("-.INF", "OL009"), (".NaN", "OL009"), ("1e999", "OL009"), ("9" * 401, "OL009"),
        ("!!python/object/apply:os.system [ls]", "OL007"), ("!!binary aGk=", "OL007"), ("!mine 3", "OL007"),
        ("!!timestamp 2024-01-01", "OL007"), ("!!set {a}", "OL007"),
    ],
)  # fmt: skip
def test_what_has_two_meanings_or_none_is_refused(written, code):
    assert problems(f"ok: 1\na: {written}") == [(code, 2, 4)]


def test_all_problems_of_a_file_in_one_go():
    text = "a: yes\nb: 010\nc: .inf\nd: !!python/name:os.system x\na: 1\ne: {f: on, f: off}\n"
    found = [(code, line) for code, line, _ in problems(text)]
    assert found == [
        ("OL008", 1), ("OL008", 2), ("OL009", 3), ("OL007", 4), ("OL005", 5), ("OL008", 6), ("OL005", 6), ("OL008", 6),
    ]  # fmt: skip


def test_a_duplicate_key_names_the_first_line_and_keeps_its_value():
    loaded = loads("a: 1\nb: 2\na: 3\n", "x.yaml")
    assert loaded.tree == {"a": 1, "b": 2}
    (problem,) = loaded.diagnostics
    assert (problem.code, problem.line) == ("OL005", 3)
    assert "line 1" in problem.hint


@pytest.mark.parametrize("key", ["null", "~", "yes", "off", "[a, b]", "{a: 1}"])
def test_keys_are_text(key):
    assert "OL011" in [code for code, _, _ in problems(f"? {key}\n: 1")]


def test_numbers_as_keys_are_the_text_that_json_would_have():
    assert loads("axes: {0: batch, 1: sequence}", "x.yaml").tree == {"axes": {"0": "batch", "1": "sequence"}}


def test_the_pretend_type_is_not_nothing():
    tree = loads("input_model: {type: Null}\npasses:\n  a: {type: Null, value: Null}", "x.yaml").tree
    assert tree == {"input_model": {"type": "Null"}, "passes": {"a": {"type": "Null", "value": None}}}


def test_anchors_and_merge_keys():
    text = """
base: &base {type: Null, bytes: 3}
passes:
  a: *base
  b: {<<: *base, bytes: 4}
  c: {<<: [{seconds: 1}, *base]}
"""
    tree = loads(text, "x.yaml").tree
    assert tree["passes"] == {
        "a": {"type": "Null", "bytes": 3},
        "b": {"type": "Null", "bytes": 4},
        "c": {"type": "Null", "bytes": 3, "seconds": 1},
    }
    tree["passes"]["a"]["bytes"] = 9
    assert tree["base"]["bytes"] == 3, "a use of an anchor is a copy"
    assert find_mark(tree, ("passes", "b", "type"), key=True) == Mark(2, 14, 4)


def test_a_quoted_merge_key_is_an_ordinary_key():
    assert loads('a: {"<<": 1}', "x.yaml").tree == {"a": {"<<": 1}}
    assert loads('{"<<": {"a": 1}}', "x.json").tree == {"<<": {"a": 1}}
    assert problems("a: {<<: 1}") == [("OL004", 1, 9)]


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "OL010", 1, 1),
        ("# nothing\n", "OL010", 2, 1),
        ("- a\n", "OL010", 1, 1),
        ("just text", "OL010", 1, 1),
        ("a: 1\n---\nb: 2\n", "OL010", 2, 1),
        ("a: *b", "OL004", 1, 4),
        ("a: &a [*a]", "OL012", 1, 8),
        ("a:\n\tb: 1", "OL004", 2, 1),
        ("a: b: c", "OL004", 1, 5),
        ("a: {b: [1", "OL004", 1, 10),
        ("%YAML 9.1\n---\na: 1", "OL004", 1, 1),
        ("a: 'x", "OL004", 1, 6),
    ],
)
def test_what_is_no_workflow(text, code, line, column):
    loaded = loads(text, "x.yaml")
    assert loaded.tree is None
    (problem,) = loaded.diagnostics
    assert problem.code == code
    assert problem.line == pytest.approx(line, abs=1), "parsers differ in where a file ends"
    assert problem.column >= 1
    if line == 1 and code != "OL004":
        assert (problem.line, problem.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "words"),
    [
        ('{\n "a": 1, // why\n "b": 2}', "OL006", 2, 10, "comments"),
        ('{\n "a": 1, # why\n "b": 2}', "OL006", 2, 10, "comments"),
        ('{"a": /* one\n two */ 1}', "OL006", 1, 7, "comments"),
        ('{"a": [1, 2,]}', "OL006", 1, 12, "trailing comma"),
        ('{\n "a": 1,\n}', "OL006", 2, 8, "trailing comma"),
        ('{"a": 1, "a": 2}', "OL005", 1, 10, "twice"),
        ('{"a": NaN}', "OL009", 1, 7, "finite"),
        ('{"a": -Infinity}', "OL009", 1, 7, "finite"),
        ('{"a": 1e999}', "OL009", 1, 7, "too large"),
        ('{"a": "\\ud800"}', "OL002", 1, 7, "surrogate"),
    ],
)
def test_json_that_can_be_read_on(text, code, line, column, words):
    loaded = loads(text, "x.json")
    assert loaded.tree is not None
    (problem,) = loaded.diagnostics
    assert (problem.code, problem.line, problem.column) == (code, line, column)
    assert words in problem.message


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("{'a': 1}", 1, 2, "double quotes"),
        ('{"a": True}', 1, 7, "`true`"),
        ('{"a": None}', 1, 7, "`null`"),
        ('{"a": 01}', 1, 7, "a value"),
        ('{"a": 1.}', 1, 7, "a value"),
        ('{"a": +1}', 1, 7, "a value"),
        ('{"a" 1}', 1, 6, "`:`"),
        ('{"a": 1 "b": 2}', 1, 9, "`,` or `}`"),
        ('{"a": 1}}', 1, 9, "the end"),
        ('{"a": [1}', 1, 9, "`,` or `]`"),
        ('{"a":\n "x', 2, 2, "unterminated"),
        ('{"a": "\\x"}', 1, 8, "escape"),
        ('{"a": "b\nc"}', 1, 9, "control character"),
        ("{", 1, 2, "a key"),
        ('{"a": ,}', 1, 7, "a value"),
        ("{a: 1}", 1, 2, "double quotes"),
    ],
)
def test_json_that_cannot(text, line, column, words):
    loaded = loads(text, "x.json")
    assert loaded.tree is None
    (problem,) = loaded.diagnostics
    assert (problem.code, problem.line, problem.column) == ("OL004", line, column)
    assert words in problem.message + problem.hint


def test_the_format_follows_the_ending_and_then_the_first_character(tmp_path):
    (tmp_path / "a.json").write_text("a: 1")
    (tmp_path / "b").write_text(' {"a": 1,}')
    (tmp_path / "c.conf").write_text("a: 1")
    assert load(tmp_path / "a.json").diagnostics[0].code == "OL004"
    assert load(tmp_path / "b").diagnostics[0].code == "OL006"
    assert load(tmp_path / "c.conf").tree == {"a": 1}


def test_places_move_with_what_is_moved():
    tree = loads("old:\n  a: 1\n  b: [x, y]\nnew: {}\n", "x.yaml").tree
    tree["old"].move("b", tree["new"], "c")
    assert tree == {"old": {"a": 1}, "new": {"c": ["x", "y"]}}
    assert find_mark(tree, ("new", "c"), key=True) == Mark(3, 3, 1)
    assert find_mark(tree, ("new", "c", 1)) == Mark(3, 10, 1)
    tree["new"].put("d", LocatedDict())
    assert find_mark(tree, ("new", "d", "e")) == Mark(4, 6, 1), "the nearest place that is known"


def test_the_place_of_what_is_missing_is_the_key_above():
    tree = loads("passes:\n  lora:\n    r: 8\n", "x.yaml").tree
    assert find_mark(tree, ("passes", "lora", "type")) == Mark(2, 3, 4)
    assert find_mark(tree, ("nothing",)) == Mark(1, 1, 1)
