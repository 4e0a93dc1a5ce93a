"""Shapes are recognised, and what is missing is named."""

from __future__ import annotations

from typing import Any

import pytest

from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.data.examples import Chat, Labelled, Pair, Preference, Question, Tagged
from olive_like.data.shapes import read_examples, recognise

USER = {"role": "user", "content": "hi"}
ASSISTANT = {"role": "assistant", "content": "hello"}


def one(row: dict[str, Any], **settings: Any) -> Any:
    examples, _ = read_examples(DataConfig(**settings), [row])
    return examples[0]


@pytest.mark.parametrize(
    ("columns", "shape"),
    [
        (["messages"], "chat"),
        (["messages", "tools"], "tools"),
        (["conversations"], "sharegpt"),
        (["conversations", "chosen", "rejected"], "preference"),
        (["instruction", "input", "output"], "alpaca"),
        (["input", "output"], "prompt_completion"),
        (["prompt", "response", "id"], "prompt_completion"),
        (["text", "label"], "classification"),
        (["sentence1", "sentence2", "label", "idx"], "classification"),
        (["tokens", "ner_tags"], "token_classification"),
        (["question", "context", "answers"], "question_answering"),
        (["text"], "text"),
    ],
)
def test_recognised_from_columns(columns: list[str], shape: str) -> None:
    known = recognise(DataConfig(), columns)
    assert known.shape == shape
    assert shape in known.said


def test_unknown_columns_are_listed() -> None:
    with pytest.raises(DataError, match="no known shape; their columns are: foo, bar") as caught:
        recognise(DataConfig(), ["foo", "bar"])
    assert "columns:" in caught.value.hint


def test_a_template_fills_fields_and_what_is_missing_is_said() -> None:
    pair = one({"phrase": "oh {no}", "tone": "sad"}, text_template="User: {phrase}\\nTone: {tone}")
    assert pair == Pair("User: oh {no}\nTone: ", "sad")
    with pytest.raises(DataError, match=r"no column 'tone'.*the columns are: phrase"):
        one({"phrase": "x"}, text_template="{phrase} {tone}")
    spaced = one({"my question": "2+2", "n": 4}, text_template='{my question} {"answer": "{n}", {other one}}')
    assert spaced == Pair('2+2 {"answer": "', '4", {other one}}')
    for settings in ({"text_template": "all the same"}, {"shape": "template"}):
        with pytest.raises(DataError, match="names no column: all rows would be the same text"):
            one({"phrase": "x"}, **settings)


def test_no_column_is_passed_over() -> None:
    row = {"a": "x", "b": "y", "c": "z", "l": 1}
    assert one(row, input_cols=["a", "b"], label_cols="l").texts == ("x", "y")
    with pytest.raises(DataError, match=r"`input_cols` names 3 columns \(a, b, c\), and classification takes 2"):
        one(row, input_cols=["a", "b", "c"], label_cols="l")
    with pytest.raises(DataError, match="`label_cols` names 2 columns"):
        one(row, input_cols="a", label_cols=["l", "b"])


def test_columns_can_be_named() -> None:
    assert one({"q": "a", "w": "b"}, columns={"prompt": "q", "completion": "w"}) == Pair("a", "b")
    with pytest.raises(DataError, match="no column 'z'"):
        one({"q": "a"}, columns={"prompt": "z"})
    with pytest.raises(DataError, match=r"no column 'completion'.*prompt_completion needs it"):
        one({"prompt": "a"}, shape="prompt_completion")


def test_alpaca_becomes_a_chat_with_history() -> None:
    row = {"instruction": "add", "input": "1 2", "output": "3", "system": "be short", "history": [["a", "b"]]}
    chat = one(row)
    assert isinstance(chat, Chat)
    assert [m["role"] for m in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert chat.messages[-2]["content"] == "add\n1 2"


def test_sharegpt_with_calls() -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": '{"name": "get", "arguments": {"city": "Paris"}}'},
            {"from": "observation", "value": '{"t": 20}'},
            {"from": "gpt", "value": "20 degrees"},
        ],
        "tools": '[{"name": "get", "parameters": {}}]',
    }
    chat = one(row)
    assert [m["role"] for m in chat.messages] == ["user", "assistant", "tool", "assistant"]
    assert chat.messages[1]["tool_calls"][0]["function"] == {"name": "get", "arguments": {"city": "Paris"}}
    assert chat.tools == [{"type": "function", "function": {"name": "get", "parameters": {}}}]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{"content": "x"}], "message 1 has no role"),
        ([{"role": "robot", "content": "x"}], "unknown role 'robot'"),
        ([USER, {"role": "assistant", "content": " "}], r"message 2 \(assistant\) is empty"),
        ([{"from": "alien", "value": "x"}], "from the unknown 'alien'"),
        ([], "has no messages"),
        (["x"], "no mapping"),
    ],
)
def test_bad_messages(messages: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        one({"messages": messages}, shape="chat")


def test_classes_tags_questions_preferences() -> None:
    assert one({"premise": "a", "hypothesis": "b", "label": 1}) == Labelled(("a", "b"), 1)
    assert one({"tokens": "Anna flew", "tags": ["PER", "O"]}) == Tagged(["Anna", "flew"], ["PER", "O"])
    answer = {"text": ["Paris"], "answer_start": [7]}
    assert one({"question": "where?", "context": "Fly to Paris", "answers": answer}) == Question(
        "where?", "Fly to Paris", 7, "Paris"
    )
    assert one({"prompt": "a", "chosen": "b", "rejected": "c"}) == Preference("a", "b", "c")
    both = one({"chosen": [USER, ASSISTANT], "rejected": [USER, {"role": "assistant", "content": "no"}]})
    assert both.prompt == [USER]
    assert both.chosen == [ASSISTANT]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a", "label": None}, "label in 'label' is empty"),
        ({"tokens": ["a", "b"], "tags": ["O"]}, "tokens: 2, tags: 1"),
        ({"question": "q", "context": "c", "answers": "zzz"}, "is not in the context"),
        ({"prompt": "a", "chosen": [ASSISTANT], "rejected": "c"}, "one of chosen and rejected"),
    ],
)
def test_bad_rows_are_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"row 1: .*{message}"):
        one(row)


def test_a_later_row_without_the_column() -> None:
    with pytest.raises(DataError, match=r"no column 'completion' \(row 3\)"):
        read_examples(DataConfig(), [{"prompt": "a", "completion": "b"}] * 2 + [{"prompt": "a"}])
