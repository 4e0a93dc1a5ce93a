"""JSON into a located tree. The standard library's reader knows no positions and accepts NaN."""

from __future__ import annotations

import re
from bisect import bisect_right
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import Any

from olive_like.workflow.builder import TreeBuilder, Unreadable
from olive_like.workflow.located import LocatedDict, LocatedList, Mark
from olive_like.workflow.numbers import TooLong, number

_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(
    r"(?P<comment>//[^\n]*|\#[^\n]*|/\*.*?\*/)"
    r'|(?P<punctuation>[{}\[\]:,"])'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.]))"
    r"|(?P<word>[^\s{}\[\]:,\"]+)",
    re.DOTALL,
)
_WORDS = {"true": True, "false": False, "null": None}
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: str, builder: TreeBuilder) -> None:
    """Feed the builder; raises Unreadable after noting a problem that ends the reading."""
    _Reader(text, builder).read()


class _Reader:
    def __init__(self, text: str, builder: TreeBuilder) -> None:
        self.text, self.builder = text, builder
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.position = 0
        self.comments = 0

    def read(self) -> None:
        closers: list[str] = []  # of what is open, innermost last
        while True:
            self._value(closers)
            while True:  # after a value: close, go on, or end
                if not closers:
                    self._end()
                    return
                token, start = self._token()
                if token == closers[-1]:
                    closers.pop()
                    self.builder.end()
                    continue
                if token != ",":
                    raise self._unexpected(token, start, f"`,` or `{closers[-1]}`")
                after = self._peek()
                if after == closers[-1]:
                    self.builder.problem(
                        "OL006", "JSON has no trailing comma", self._mark(start, start + 1), "Remove it."
                    )
                    continue
                break
            if closers[-1] == "}":
                self._key()

    def _value(self, closers: list[str]) -> None:
        """One value; of mappings and lists only what is needed to stand before the first value inside."""
        while True:
            token, start = self._token()
            if token == '"':
                value = self._string(start)
                self.builder.scalar(value, self._mark(start, self.position))
                return
            if token not in ("{", "["):
                self.builder.scalar(self._literal(token, start), self._mark(start, self.position))
                return
            closer = "}" if token == "{" else "]"
            self.builder.begin(LocatedDict() if token == "{" else LocatedList(), self._mark(start, start + 1))
            if self._peek() == closer:
                self._token()
                self.builder.end()
                return
            closers.append(closer)
            if closer == "}":
                self._key()

    def _key(self) -> None:
        token, start = self._token()
        if token != '"':
            hint = "Keys stand in double quotes." if token and token[0] not in "{}[],:" else ""
            raise self._unexpected(token, start, "a key", hint)
        key = self._string(start)
        self.builder.key(key, self._mark(start, self.position))
        token, start = self._token()
        if token != ":":
            raise self._unexpected(token, start, "`:`")

    def _literal(self, token: str, start: int) -> Any:
        if token in _WORDS:
            return _WORDS[token]
        at = self._mark(start, start + len(token))
        if token in ("NaN", "Infinity", "-Infinity"):
            self.builder.problem("OL009", f"`{token}` is not a finite number", at, "Leave the setting out.")
            return 0
        if token and (token[0] == "-" or token[0] in "0123456789"):
            try:
                if _TOKEN.match(token).group("number") == token:  # type: ignore[union-attr]
                    return number(token)
            except OverflowError:
                self.builder.problem("OL009", f"`{token}` is too large for a number", at)
                return 0
            except TooLong:
                self.builder.problem("OL009", f"a number of {len(token)} digits is refused", at)
                return 0
        raise self._unexpected(token, start, "a value", _hint_for(token))

    def _string(self, start: int) -> str:
        value: str
        try:
            value, self.position = scanstring(self.text, start + 1, True)
        except JSONDecodeError as error:
            at = self._mark(error.pos, error.pos + 1)
            raise self.builder.give_up("OL004", f"not JSON: {error.msg.lower().removesuffix(' at')}", at) from None
        if _SURROGATE.search(value):
            at = self._mark(start, self.position)
            self.builder.problem("OL002", "half of a surrogate pair is not a character", at)
            value = _SURROGATE.sub("\ufffd", value)
        return value

    def _token(self) -> tuple[str, int]:
        """The next token and where it starts; "" at the end. Of a string only the opening quote."""
        while True:
            start = _SPACE.match(self.text, self.position).end()  # type: ignore[union-attr]
            match = _TOKEN.match(self.text, start)
            if match is None:
                self.position = start
                return "", start
            self.position = match.end()
            if match.lastgroup != "comment":
                return match.group(), start
            self._comment(start, match.end())

    def _peek(self) -> str:
        token, start = self._token()
        self.position = start
        return token

    def _comment(self, start: int, end: int) -> None:
        self.comments += 1
        if self.comments == 1:  # one is enough to know: the remedy is the same for all
            end = min(end, start + len(self.text[start:end].partition("\n")[0]))
            self.builder.problem(
                "OL006",
                "JSON has no comments",
                self._mark(start, end),
                "Remove it, or name the file .yaml: YAML has comments (`# …`) and reads the rest as it is.",
            )

    def _end(self) -> None:
        token, start = self._token()
        if token:
            raise self._unexpected(token, start, "the end of the file")

    def _unexpected(self, token: str, start: int, wanted: str, hint: str = "") -> Unreadable:
        found = f"`{token[:30]}`" if token else "the end of the file" if start >= len(self.text) else "this"
        at = self._mark(start, start + max(1, len(token)))
        return self.builder.give_up("OL004", f"not JSON: {wanted} should stand here, not {found}", at, hint)

    def _mark(self, start: int, end: int) -> Mark:
        line = bisect_right(self.lines, start)
        return Mark(line, start - self.lines[line - 1] + 1, max(1, end - start))


def _hint_for(token: str) -> str:
    if token.startswith("'"):
        return "JSON has double quotes only."
    if token.lower() in ("true", "false", "none", "null"):
        return f"JSON writes it `{'null' if token.lower() == 'none' else token.lower()}`."
    return ""
