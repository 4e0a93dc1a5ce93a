"""Rows from local files, each with the line on which it stands."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from olive_like.data.errors import DataError
from olive_like.data.places import FORMATS

Row = dict[str, Any]
_DECODER = json.JSONDecoder()


class Located(NamedTuple):
    """One row and where it is."""

    row: Row
    file: str
    line: int


class BadLine(NamedTuple):
    """One line that is no row."""

    file: str
    line: int
    problem: str


def format_of(file: Path, said: str | None = None) -> str:
    """What a file is, by its name."""
    found = said or FORMATS.get(file.suffix.lower())
    if found is None:
        raise DataError(
            f"{file} is of no known format: {file.suffix or 'its name has no ending'}",
            f"Known endings: {', '.join(FORMATS)}. Or say `format: json`.",
        )
    return found


def read(file: Path, said: str | None = None) -> Iterator[Located | BadLine]:
    """All rows of a file in their order, with the lines that are none."""
    if not file.exists():
        raise DataError(f"there is no file {file}", "Paths are relative to the workflow file.")
    kind = format_of(file, said)
    if file.stat().st_size == 0:
        raise DataError(f"{file} is empty", "A data file has at least one row.")
    if kind in ("parquet", "arrow"):
        from olive_like.data import _columnar

        yield from (Located(row, file.name, i) for i, row in enumerate(_columnar.rows(file, kind), 1))
        return
    text = _text(file)
    if kind == "json":
        array = text.lstrip().startswith("[")
        yield from _array(text, file.name) if array else _lines(text, file.name)
    elif kind == "csv":
        yield from _csv(text, file)
    else:
        lines = enumerate(text.splitlines(), 1)
        yield from (Located({"text": line}, file.name, number) for number, line in lines if line.strip())


def rows_of(file: Path, said: str | None = None) -> list[Row]:
    """The rows of a file; the first line that is none is an error that counts the others."""
    rows: list[Row] = []
    bad: list[BadLine] = []
    for item in read(file, said):
        if isinstance(item, BadLine):
            bad.append(item)
        else:
            rows.append(item.row)
    if bad:
        first = bad[0]
        more = f", and {len(bad) - 1} more such line{'s' if len(bad) > 2 else ''}" if len(bad) > 1 else ""
        raise DataError(
            f"{file}:{first.line}: {first.problem}{more}",
            f"The other {len(rows):,} rows are fine. `olive-like data check {file.name}` lists every problem.",
        )
    if not rows:
        raise DataError(f"{file} has no rows", "A data file has at least one row.")
    return rows


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 at byte {error.start:,}", "Save it again as UTF-8.") from None


def _row(value: Any, file: str, line: int) -> Located | BadLine:
    if isinstance(value, dict):
        return Located(value, file, line)
    return BadLine(file, line, f"a row is a mapping of columns, this is {_kind(value)}")


def _lines(text: str, file: str) -> Iterator[Located | BadLine]:
    # Not splitlines(): JSON text may hold characters that this takes for the end of a line.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadLine(file, number, f"bad JSON: {_short(error)}")
        else:
            yield _row(value, file, number)


def _array(text: str, file: str) -> Iterator[Located | BadLine]:
    """The elements of a JSON array one by one, so that each has its line."""
    position, line, counted = text.index("[") + 1, 1, 0
    while True:
        while position < len(text) and text[position] in " \t\r\n,":
            position += 1
        line += text.count("\n", counted, position)
        counted = position
        if position >= len(text):
            yield BadLine(file, line, "bad JSON: the array has no end")
            return
        if text[position] == "]":
            return
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            at = error.lineno if isinstance(error, json.JSONDecodeError) else line
            yield BadLine(file, at, f"bad JSON: {_short(error)}; nothing after it can be read")
            return
        yield _row(value, file, line)


def _csv(text: str, file: Path) -> Iterator[Located | BadLine]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(text.splitlines(keepends=True), delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
    header = next(reader, [])
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(header):
            yield BadLine(file.name, reader.line_num, f"{len(cells)} cells where the header has {len(header)}")
        else:
            yield Located(dict(zip(header, cells, strict=True)), file.name, reader.line_num)


def _short(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _kind(value: Any) -> str:
    return {list: "a list", str: "text", type(None): "null", bool: "true or false"}.get(type(value), "a number")
