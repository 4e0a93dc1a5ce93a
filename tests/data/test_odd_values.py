"""Whatever stands where in a row: an example, or an error that says what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.data.shapes import reader, recognise

CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
ODD: list[Any] = [None, 5, 1.5, True, "x", "", [], [1], ["a"], {}, {"a": 1}, [[]], [None], [{}], float("nan"), 10**30]
ROWS: list[dict[str, Any]] = [
    {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "tool_calls": [CALL]}],
        "tools": [{"name": "f", "parameters": {}}],
        "system": "s",
    },
    {"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": '{"name": "f"}'}]},
    {"instruction": "a", "input": "b", "output": "c", "history": [["q", "a"]], "system": "x"},
    {"prompt": "a", "completion": "b"},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {
        "conversations": [{"from": "human", "value": "x"}],
        "chosen": {"from": "gpt", "value": "x"},
        "rejected": {"from": "gpt", "value": "y"},
    },
    {"text": "a", "label": 1},
    {"tokens": ["a", "b"], "ner_tags": [0, 1]},
    {"question": "q", "context": "the a", "answers": {"text": ["a"], "answer_start": [4]}},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def with_value(row: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(row)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ",".join(row))
def test_no_value_breaks_the_reader(row: dict[str, Any]) -> None:
    make = reader(DataConfig(), recognise(DataConfig(), list(row)))
    make(row)
    refused = 0
    for path in places(row):
        for value in ODD:
            try:
                make(with_value(row, path, value))
            except DataError:
                refused += 1
    assert refused or list(row) == ["prompt", "completion"]  # any value can be written as text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "a", "label": ["x", "y"]}, "the label in 'label' is a list"),
        ({"text": "a", "label": float("nan")}, "the label in 'label' is empty"),
        ({"instruction": "a", "output": "b", "history": ["q", "a"]}, "`history` is a list of pairs"),
        ({"prompt": "a", "chosen": [1], "rejected": [2]}, "message 1 is no mapping"),
        ({"messages": [{"role": "assistant", "content": {"a": 1}}]}, "is a mapping, not text"),
        ({"question": "q", "context": "c", "answers": {"text": "c", "answer_start": "x"}}, "not the number"),
    ],
)
def test_what_is_said(row: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        reader(DataConfig(), recognise(DataConfig(), list(row)))(row)
