"""Rows of JSON text, one object per line or an array of them, each with the line on which it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from olive_like.data.located import BadLine, Located

_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # how half of a character may be written


class _TwiceError(ValueError):
    """A key that stands twice in one object: which of the two values counts nobody has said."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the key {twice!r} stands there twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def rows(text: str, file: str) -> Iterator[Located | BadLine]:
    """All rows, and what is none."""
    if text.lstrip().startswith("["):
        return _values(text, file, text.index("[") + 1, "]")
    end = _end_of_first(text)
    if "\n" not in text[:end].strip():
        return _lines(text, file)
    return _values(text, file, 0, "") if text[end:].strip() else _one_object(text, file)


def _end_of_first(text: str) -> int:
    """Where the first object ends, which may go over several lines; 0 if it does not."""
    start = len(text) - len(text.lstrip())
    if not text.startswith("{", start):
        return 0
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return 0


def _one_object(text: str, file: str) -> Iterator[BadLine]:
    lists = [name for name, inner in json.loads(text).items() if isinstance(inner, list)]
    where = f"; the rows may be what {lists[0]!r} holds: save that alone" if lists else ""
    yield BadLine(file, 1, f"the file is one object, not an array of rows or a row on each line{where}")


def _lines(text: str, file: str) -> Iterator[Located | BadLine]:
    # Not splitlines(): JSON text may hold characters that this takes for the end of a line.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            yield BadLine(file, number, _words(error))
        else:
            yield _row(value, line, file, number)


def _values(text: str, file: str, position: int, closing: str) -> Iterator[Located | BadLine]:
    """The elements of an array, or objects one after the other, one by one, so that each has its line."""
    line, counted = 1, 0
    while True:
        while position < len(text) and text[position] in " \t\r\n,":
            position += 1
        line += text.count("\n", counted, position)
        counted = position
        if position >= len(text):
            if closing:
                yield BadLine(file, line, "bad JSON: the array has no end")
            return
        if text[position] == closing:
            if text[position + 1 :].strip():
                yield BadLine(file, line, "the array ends here; nothing after it can be read")
            return
        start = position
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            at = error.lineno if isinstance(error, json.JSONDecodeError) else line
            yield BadLine(file, at, f"{_words(error)}; nothing after it can be read")
            return
        yield _row(value, text[start:position], file, line)


def _row(value: Any, text: str, file: str, line: int) -> Located | BadLine:
    if not isinstance(value, dict):
        return BadLine(file, line, f"a row is a mapping of columns, this is {_kind(value)}")
    if _HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            half = ord(error.object[error.start])
            return BadLine(file, line, f"\\u{half:04x} is half a character: text that no tokenizer takes")
    return Located(value, file, line)


def _words(error: Exception) -> str:
    if isinstance(error, _TwiceError):
        return str(error)
    return f"bad JSON: {error.msg if isinstance(error, json.JSONDecodeError) else error}"


def _kind(value: Any) -> str:
    return {list: "a list", str: "text", type(None): "null", bool: "true or false"}.get(type(value), "a number")
