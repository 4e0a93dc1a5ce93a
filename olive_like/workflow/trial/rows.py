"""Rows that fit what a data set says of its columns, in place of one that would have to be downloaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from olive_like.workflow.located import LocatedDict, LocatedList

_FIELD = re.compile(r"\{(\w+)\}")
_SENTENCES = (
    "The river was high that spring, and the ferry stayed at its rope for eleven days.",
    "Nobody had told the new clerk that the clock in the hall ran backwards on Sundays.",
    "Three of the seven bridges were closed, so the bread came late and the news came early.",
    "If you add the numbers twice and the sums differ, count the apples again.",
    "She wrote the letter in pencil, read it aloud, and burned it before the kettle boiled.",
    "A good map leaves out more than it shows; this one had left out the sea.",
    "The committee agreed on the colour of the door and on nothing else.",
    "Rain fell on the tin roof all night, and in the morning the well was full.",
)


def made_up_rows(config: Mapping[str, Any], task: Any, count: int, folder: Path) -> LocatedList:
    """Rows with every column that the data set names, or with those that its shape has by default.

    Pictures and sounds are files in `folder`.
    """
    image = "image" in config or "image" in str(task)
    return LocatedList([LocatedDict(_row(config, index, image, folder)) for index in range(count)])


def made_up_recordings(config: Mapping[str, Any], count: int, folder: Path) -> Path:
    """A folder with recordings and the list of them: recordings count where the folder is the data set."""
    from olive_like.workflow.trial import _files

    rows = made_up_rows(config, None, count, folder / "sounds")
    column = (config["audio"] or {}).get("audio_col", "audio")
    for row in rows:
        row[column] = Path(row[column]).name
    return _files.listed(folder / "sounds", rows)


def _row(config: Mapping[str, Any], index: int, image: bool, folder: Path) -> dict[str, Any]:
    shape = config.get("shape", "auto")
    row: dict[str, Any] = {}
    if image:
        settings = config.get("image") or {}
        row[settings.get("image_col", "image")] = _file(folder, f"{index}.png", "picture", index)
        for name in ("question_col", "answer_col"):
            if settings.get(name):
                row[settings[name]] = _text(index)
    if "audio" in config:
        settings = config["audio"] or {}
        row[settings.get("audio_col", "audio")] = _file(folder, f"{index}.wav", "sound", index)
        row[settings.get("text_col") or "text"] = _SENTENCES[index % len(_SENTENCES)]
    if shape in _SHAPES:
        row |= _SHAPES[shape](index)
    for column in _text_columns(config):
        row.setdefault(column, _text(index))
    labels = config.get("labels")
    for column in _listed(config.get("label_cols", config.get("label_col"))):
        row[column] = labels[index % len(labels)] if labels else index % 2
    if image or config.get("process_function") or config.get("input_cols"):
        row.setdefault("label", index % 2)
    if not image and not any(isinstance(value, (str, list)) for value in row.values()):
        row["text"] = _text(index)
    return row


def _text_columns(config: Mapping[str, Any]) -> list[str]:
    template = config.get("text_template")
    return [
        *_listed(config.get("input_cols")),
        *_listed(config.get("text_field")),
        *_listed(config.get("text_cols")),
        *(_FIELD.findall(template) if isinstance(template, str) else ()),
        *(config["columns"].values() if isinstance(config.get("columns"), Mapping) else ()),
    ]


def _text(index: int) -> str:
    return " ".join(_SENTENCES[(index + step) % len(_SENTENCES)] for step in range(4))


def _chat(index: int) -> list[LocatedDict]:
    question, answer = _SENTENCES[index % len(_SENTENCES)], _SENTENCES[(index + 1) % len(_SENTENCES)]
    return [LocatedDict({"role": "user", "content": question}), LocatedDict({"role": "assistant", "content": answer})]


def _words(index: int) -> list[str]:
    return _SENTENCES[index % len(_SENTENCES)].split()


_SHAPES: dict[str, Any] = {
    "chat": lambda i: {"messages": _chat(i)},
    "sharegpt": lambda i: {
        "conversations": [
            LocatedDict({"from": "human" if m["role"] == "user" else "gpt", "value": m["content"]}) for m in _chat(i)
        ]
    },
    "tools": lambda i: {"messages": _chat(i), "tools": []},
    "alpaca": lambda i: {"instruction": _text(i), "input": "", "output": _text(i + 1)},
    "prompt_completion": lambda i: {"prompt": _text(i), "completion": _text(i + 1)},
    "preference": lambda i: {"prompt": _text(i), "chosen": _text(i + 1), "rejected": _text(i + 2)},
    "classification": lambda i: {"text": _text(i), "label": i % 2},
    "token_classification": lambda i: {"tokens": _words(i), "ner_tags": [n % 2 for n in range(len(_words(i)))]},
    "question_answering": lambda i: {
        "question": "What was high?",
        "context": _SENTENCES[0],
        "answers": {"text": ["The river"], "answer_start": [0]},
    },
}


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in value] if isinstance(value, Iterable) and not isinstance(value, Mapping) else []


def _file(folder: Path, name: str, kind: str, number: int) -> str:
    """A small picture or sound, written once."""
    file = folder / name
    if not file.is_file():
        from olive_like.workflow.trial import _files

        folder.mkdir(parents=True, exist_ok=True)
        getattr(_files, kind)(file, number)
    return str(file)
