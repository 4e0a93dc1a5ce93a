"""Rows from local files, each with the line on which it stands."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from olive_like.data import json_rows
from olive_like.data.errors import DataError
from olive_like.data.located import BadLine, Located, Row
from olive_like.data.places import FORMATS, ending

__all__ = ["BadLine", "Located", "Row", "format_of", "read", "rows_of"]


def format_of(file: Path, said: str | None = None) -> str:
    """What a file is, by its name."""
    found = said or FORMATS.get(ending(file))
    if found is None:
        raise DataError(
            f"{file} is of no known format: {file.suffix or 'its name has no ending'}",
            f"Known endings: {', '.join(FORMATS)}; of text also with .gz. Or say `format: json`.",
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
        yield from json_rows.rows(text, file.name)
    elif kind == "csv":
        yield from _csv(text, file)
    else:
        lines = enumerate((line.rstrip("\r\n") for line in _lines(text)), 1)
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
        fine = f"The other {len(rows):,} rows are fine. " if rows else ""
        raise DataError(
            f"{file}:{first.line}: {first.problem}{more}",
            f"{fine}`olive-like data check {file.name}` lists every problem.",
        )
    if not rows:
        raise DataError(f"{file} has no rows", "A data file has at least one row.")
    return rows


def _text(file: Path) -> str:
    content = file.read_bytes()
    if file.suffix.lower() == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{file} cannot be unpacked: {error}", "Pack it again, or name the file itself.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 at byte {error.start:,}", "Save it again as UTF-8.") from None


def _lines(text: str) -> Iterable[str]:
    """Lines with their ends. Not splitlines(): it also cuts at page breaks and at separators that stand in text."""
    return io.StringIO(text, newline="")


def _csv(text: str, file: Path) -> Iterator[Located | BadLine]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(_lines(text), delimiter="\t" if ending(file) == ".tsv" else ",")
    header = next(reader, [])
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{file} has two columns {twice[0]!r}", "Give one of them another name.")
    end = reader.line_num
    for cells in reader:
        start, end = end + 1, reader.line_num  # a quoted cell may go over several lines
        if not cells:
            continue
        if len(cells) != len(header):
            count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
            open_quote = ", up to the end of the file: a quote is not closed" if "\n" in cells[-1] else ""
            yield BadLine(file.name, start, f"{count} where the header has {len(header)}{open_quote}")
        else:
            yield Located(dict(zip(header, cells, strict=True)), file.name, start)
