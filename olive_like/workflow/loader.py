"""A workflow file into a located tree, with every problem of reading it as a diagnostic."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from olive_like.diagnostics import Diagnostic
from olive_like.diagnostics.codes import problem
from olive_like.workflow.builder import TreeBuilder, Unreadable
from olive_like.workflow.located import LocatedDict, Mark

MAX_BYTES = 16 << 20

Format = Literal["yaml", "json"]

# A tab or a line end apart, control characters have no business in a text file.
_CONTROLS = bytes(code for code in (*range(32), 127) if code not in b"\t\n\r")


@dataclass
class Loaded:
    """What was read: `tree` is None where nothing useful could be."""

    tree: LocatedDict | None
    diagnostics: list[Diagnostic] = field(default_factory=list)


def load(path: str | os.PathLike[str]) -> Loaded:
    """Read a workflow file, JSON or YAML by its ending (and by its first character where that says nothing)."""
    file = os.fspath(path)
    try:
        with open(file, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return Loaded(None, [problem("OL001", f"cannot read {file}: {error.strerror or error}", file=file)])
    except ValueError as error:  # a NUL in the path
        return Loaded(None, [problem("OL001", f"cannot read {file!r}: {error}", file=None)])
    if len(raw) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES >> 20} MiB"
        hint = "A workflow names data and models; it does not hold them."
        return Loaded(None, [problem("OL003", message, file=file, hint=hint)])
    return _decode(raw, file)


def loads(text: str, file: str | None = None, format: Format | None = None) -> Loaded:
    """Read the text of a workflow file."""
    builder = TreeBuilder(file)
    text = text.removeprefix("\ufeff")
    tree = None
    try:
        _refuse_control_characters(text, builder)
        if (format or _format_of(file, text)) == "json":
            from olive_like.workflow.json_reader import read_json

            read_json(text, builder)
        else:
            from olive_like.workflow.yaml_reader import read_yaml

            read_yaml(text, builder)
        tree = builder.finish()
    except Unreadable:
        pass  # the builder has the problem
    return Loaded(tree, builder.problems)


def _decode(raw: bytes, file: str) -> Loaded:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Loaded(None, [_not_utf8(file, 1, 1, "the file is UTF-16")])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        byte = f"the byte 0x{raw[error.start]:02x} is not UTF-8"
        return Loaded(None, [_not_utf8(file, before.count(b"\n") + 1, column, byte)])
    return loads(text, file)


def _not_utf8(file: str, line: int, column: int, message: str) -> Diagnostic:
    return problem("OL002", message, file=file, line=line, column=column, hint="Save the file as UTF-8.")


def _refuse_control_characters(text: str, builder: TreeBuilder) -> None:
    raw = text.encode("utf-8", "replace")
    if len(raw.translate(None, _CONTROLS)) == len(raw):
        return
    place, found = next((i, c) for i, c in enumerate(text) if ord(c) < 128 and ord(c) in _CONTROLS)
    line = text.count("\n", 0, place) + 1
    column = place - (text.rfind("\n", 0, place) + 1) + 1
    name = "a NUL character" if found == "\0" else f"the control character U+{ord(found):04X}"
    raise builder.give_up("OL002", f"{name} has no place in a text file", Mark(line, column))


def _format_of(file: str | None, text: str) -> Format:
    suffix = Path(file).suffix.lower() if file else ""
    if suffix == ".json":
        return "json"
    if suffix in (".yaml", ".yml"):
        return "yaml"
    return "json" if text.lstrip()[:1] == "{" else "yaml"
