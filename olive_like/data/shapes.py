"""Shapes of rows: recognised from the columns, or told; a reader for each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError, missing_column
from olive_like.data.examples import Chat, Example, Labelled, Pair, Preference, Question, Tagged
from olive_like.data.messages import conversation, normal_messages, tool_list
from olive_like.data.read import Row

# For each shape: what it needs -> the column names that mean it, most telling first.
ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "preference": {"chosen": ("chosen",), "rejected": ("rejected",)},
    "tools": {"messages": ("messages", "conversations"), "tools": ("tools", "functions")},
    "chat": {"messages": ("messages", "conversation", "dialog")},
    "sharegpt": {"messages": ("conversations",)},
    "question_answering": {"question": ("question",), "context": ("context",), "answers": ("answers", "answer")},
    "token_classification": {
        "tokens": ("tokens", "words"),
        "tags": ("ner_tags", "tags", "pos_tags", "labels", "label"),
    },
    "alpaca": {"instruction": ("instruction",), "output": ("output", "response")},
    "prompt_completion": {
        "prompt": ("prompt", "question", "input", "query", "instruction"),
        "completion": ("completion", "response", "answer", "output", "target"),
    },
    "classification": {
        "text": ("text", "sentence", "sentence1", "premise", "question1", "review", "content"),
        "label": ("label", "labels", "class", "category", "score", "target"),
    },
    "text": {"text": ("text", "content", "document")},
}
_SECOND_TEXT = ("sentence2", "hypothesis", "question2", "text_pair")
_FIELD = re.compile(r"\{([^{}]+)\}")


class Recognised(NamedTuple):
    """The shape of a data set, and which column means what."""

    shape: str
    columns: dict[str, str]
    said: str  # for the summary


def recognise(config: DataConfig, columns: Sequence[str]) -> Recognised:
    """The shape that the config names, or the one that the columns fit."""
    there = list(columns)
    for meaning, column in config.columns.items():
        if column not in there:
            raise missing_column(column, there, f"`columns` says that it is the {meaning}")
    shape = config.shape
    if shape == "auto" and config.text_template:
        shape = "template"
    elif shape == "auto" and (config.input_cols or config.label_cols):
        shape = "classification"
    elif shape == "auto" and config.text_field:
        shape = "text"
    if shape == "template":
        fields = _fields(config.text_template or "", there)
        return Recognised("template", {name: name for name in fields}, "rows are texts made by the template")
    if shape != "auto":
        return Recognised(shape, _columns_of(shape, config, there, required=True) or {}, f"rows are {shape}, as told")
    for candidate in ROLES:
        found = _columns_of(candidate, config, there, required=False)
        if found is not None:
            used = ", ".join(f"{column} as {meaning}" for meaning, column in found.items())
            return Recognised(candidate, found, f"rows are {candidate} by their columns ({used})")
    raise DataError(
        f"the rows are of no known shape; their columns are: {', '.join(there) or 'none'}",
        "Say which column means what (`columns: {prompt: my_question, completion: my_answer}`), or give a "
        "`text_template` with `{column}` fields.",
    )


def reader(config: DataConfig, known: Recognised) -> Callable[[Row], Example]:
    """The function that makes an example of one row."""
    if known.shape == "template":
        return _template_reader(config.text_template or "", known.columns)
    readers: dict[str, Callable[[Row, dict[str, str], DataConfig], Example]] = {
        "text": _text,
        "prompt_completion": _prompt_completion,
        "alpaca": _alpaca,
        "chat": _chat,
        "sharegpt": _chat,
        "tools": _chat,
        "classification": _classification,
        "token_classification": _tagged,
        "preference": _preference,
        "question_answering": _question,
    }
    make = readers[known.shape]
    return lambda row: make(row, known.columns, config)


def read_examples(config: DataConfig, rows: Sequence[Row]) -> tuple[list[Example], Recognised]:
    """All rows as examples; what is wrong with one is said with its number."""
    known = recognise(config, columns_of(rows))
    make = reader(config, known)
    examples: list[Example] = []
    for number, row in enumerate(rows, 1):
        try:
            examples.append(make(row))
        except KeyError as error:
            raise missing_column(str(error.args[0]), list(row), f"row {number}") from None
        except DataError as error:
            raise DataError(f"row {number}: {error.message}", error.hint) from None
    return examples, known


def columns_of(rows: Sequence[Row]) -> list[str]:
    """All columns of the first rows: in JSON a row may leave one out."""
    return list(dict.fromkeys(name for row in rows[:100] for name in row))


def _columns_of(shape: str, config: DataConfig, there: list[str], required: bool) -> dict[str, str] | None:
    """Meaning -> column, or None where the columns do not have what the shape needs."""
    told = dict(config.columns)
    if shape == "text" and config.text_field:
        told["text"] = config.text_field if isinstance(config.text_field, str) else config.text_field[0]
    if shape in ("classification", "token_classification"):
        first, second = ("text", "label") if shape == "classification" else ("tokens", "tags")
        _check_few(config, shape)
        if config.input_cols:
            told[first] = config.input_cols[0]
            told |= {"text_pair": config.input_cols[1]} if len(config.input_cols) > 1 else {}
        if config.label_cols:
            told[second] = config.label_cols[0]
    found: dict[str, str] = {}
    for meaning, names in ROLES[shape].items():
        column = told.get(meaning) or next((name for name in names if name in there), None)
        if column is None or column not in there:
            if required:
                raise missing_column(column or meaning, there, f"{shape} needs it")
            return None
        found[meaning] = column
    if shape == "classification" and "text_pair" not in told and not config.input_cols:
        pair = next((name for name in _SECOND_TEXT if name in there), None)
        told |= {"text_pair": pair} if pair else {}
    return found | {meaning: column for meaning, column in told.items() if column in there}


def _check_few(config: DataConfig, shape: str) -> None:
    """Columns beyond those that an example has a place for are not passed over in silence."""
    most = {"input_cols": 2 if shape == "classification" else 1, "label_cols": 1}
    for name, count in most.items():
        given = getattr(config, name) or []
        if len(given) > count:
            raise DataError(
                f"`{name}` names {len(given)} columns ({', '.join(given)}), and {shape} takes {count}",
                "Leave the others out, or join columns with a `text_template`.",
            )


def _fields(template: str, there: list[str]) -> list[str]:
    """The columns that a template names; what else stands in braces, as in JSON, is text."""
    fields = [name for name in _FIELD.findall(template) if name in there or re.fullmatch(r"\w+", name)]
    for name in fields:
        if name not in there:
            raise missing_column(name, there, "the template has it as a field")
    if not fields:
        raise DataError(
            f"the text template {template!r} names no column: all rows would be the same text",
            f"Write columns in braces: `{{{there[0] if there else 'column'}}}`.",
        )
    return fields


def _template_reader(template: str, columns: Iterable[str]) -> Callable[[Row], Example]:
    """The text up to the last field is the prompt: what the model is to learn is how it goes on."""
    template = template.replace("\\n", "\n").replace("\\t", "\t")
    field = re.compile("|".join(re.escape(f"{{{name}}}") for name in columns))
    places = list(field.finditer(template))
    cut = places[-1].start() if len(places) > 1 else 0

    def fill(text: str, row: Row) -> str:
        return field.sub(lambda match: _string(row[match[0][1:-1]]), text)

    return lambda row: Pair(fill(template[:cut], row), fill(template[cut:], row))


def _text(row: Row, columns: dict[str, str], config: DataConfig) -> Example:
    if isinstance(config.text_field, list):
        return Pair("", "\n".join(_string(row[name]) for name in config.text_field))
    return Pair("", _string(row[columns["text"]]))


def _prompt_completion(row: Row, columns: dict[str, str], config: DataConfig) -> Example:
    prompt, completion = row[columns["prompt"]], row[columns["completion"]]
    if isinstance(prompt, list) and isinstance(completion, list):
        return Chat(normal_messages([*prompt, *completion]), tool_list(row.get("tools")))
    if config.chat_template:
        return Chat(_turns(_string(prompt), _string(completion), row))
    return Pair(_string(prompt), _string(completion))


def _alpaca(row: Row, columns: dict[str, str], config: DataConfig) -> Example:
    asked = _string(row[columns["instruction"]])
    extra = _string(row.get(columns.get("input", "input")) or "")
    messages = _turns(f"{asked}\n{extra}" if extra else asked, _string(row[columns["output"]]), row)
    return Chat(messages)


def _turns(asked: str, answer: str, row: Row) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    before = [
        {"role": role, "content": _string(text)}
        for turn in _pairs(row.get("history") or [])
        for role, text in zip(("user", "assistant"), turn, strict=False)
    ]
    return [*system, *before, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def _pairs(history: Any) -> list[Any]:
    if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
        raise DataError("`history` is a list of pairs: what was asked, and what was answered")
    return history


def _chat(row: Row, columns: dict[str, str], config: DataConfig) -> Example:
    messages = row[columns["messages"]]
    if isinstance(messages, str):
        messages = _json(messages, columns["messages"])
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{columns['messages']!r} has no messages")
    normal = conversation(messages)
    if row.get("system") and normal[0]["role"] != "system":
        normal = [{"role": "system", "content": str(row["system"])}, *normal]
    return Chat(normal, tool_list(row.get(columns.get("tools", "tools"))))


def _classification(row: Row, columns: dict[str, str], config: DataConfig) -> Example:
    texts = [row[columns["text"]]] + ([row[columns["text_pair"]]] if "text_pair" in columns else [])
    label = row[columns["label"]]
    if label is None or label == "" or label != label:  # NaN
        raise DataError(f"the label in {columns['label']!r} is empty")
    if isinstance(label, (list, dict)):
        kind = "list" if isinstance(label, list) else "mapping"
        raise DataError(f"the label in {columns['label']!r} is a {kind}; a label is a name or a number")
    return Labelled(tuple(_string(text) for text in texts), label)


def _tagged(row: Row, columns: dict[str, str], config: DataConfig) -> Example:
    words, tags = row[columns["tokens"]], row[columns["tags"]]
    if isinstance(words, str):
        words = words.split()
    if isinstance(tags, str):
        tags = tags.split()
    if not isinstance(words, list) or not isinstance(tags, list) or len(words) != len(tags):
        raise DataError(f"tokens: {_count(words)}, tags: {_count(tags)}; there must be one tag for each token")
    return Tagged([str(word) for word in words], tags)


def _preference(row: Row, columns: dict[str, str], config: DataConfig) -> Example:
    chosen, rejected = (_side(row[columns[side]]) for side in ("chosen", "rejected"))
    prompt: Any = next(
        (row[c] for c in (columns.get("prompt"), "prompt", "conversations", "question") if c in row), None
    )
    if isinstance(prompt, list):
        prompt = conversation(prompt)
    if isinstance(chosen, list) and isinstance(rejected, list):
        if prompt is None:
            same = 0
            while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
                same += 1
            prompt, chosen, rejected = chosen[:same], chosen[same:], rejected[same:]
        elif isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}]
        return Preference(prompt, chosen, rejected)
    if isinstance(chosen, list) or isinstance(rejected, list):
        raise DataError("one of chosen and rejected is a list of messages, the other is text")
    return Preference(_string(prompt or ""), chosen, rejected)


def _side(value: Any) -> Any:
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        return conversation(value)
    return _string(value)


def _question(row: Row, columns: dict[str, str], config: DataConfig) -> Example:
    answers, context = row[columns["answers"]], _string(row[columns["context"]])
    if isinstance(answers, list):
        answers = answers[0] if answers else {}
    if isinstance(answers, dict):
        texts, starts = (_listed(answers.get(name)) for name in ("text", "answer_start"))
        if not texts:
            return Question(_string(row[columns["question"]]), context, -1, "")
        answer = str(texts[0])
        start = starts[0] if starts else context.find(answer)
        if not isinstance(start, int):
            raise DataError(f"`answer_start` is {start!r}, not the number of a character")
    else:
        answer = _string(answers)
        start = context.find(answer)
    if context[start : start + len(answer)] != answer:
        raise DataError(f"the answer {answer[:40]!r} is not in the context")
    return Question(_string(row[columns["question"]]), context, start, answer)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _json(text: str, column: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise DataError(f"{column!r} holds text that is no JSON") from None


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0
