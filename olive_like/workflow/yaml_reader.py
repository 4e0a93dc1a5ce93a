"""YAML into a located tree: the safe subset that means the same to every reader, and to JSON."""

from __future__ import annotations

import re
from typing import Any

import yaml

from olive_like.workflow.builder import TreeBuilder
from olive_like.workflow.located import LocatedDict, LocatedList, Mark
from olive_like.workflow.numbers import TooLong, number

# The parser in C where PyYAML was built with it: 20 times as fast, the same events.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_SWITCH = {"yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"}
_PLAIN_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+\Z")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?\Z")
_OTHER_BASE = re.compile(r"[-+]?0[bo][0-9_]+\Z|[-+]0x[0-9a-fA-F_]+\Z")
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")

_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq")} | {"!"}


def read_yaml(text: str, builder: TreeBuilder) -> None:
    """Feed the builder; raises Unreadable after noting a problem that ends the reading."""
    documents = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise builder.give_up("OL010", "the file holds a second document (`---`)", _mark(event))
            else:
                _take(event, builder)
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, builder) from None
    except yaml.reader.ReaderError as error:
        raise _unprintable(text, error, builder) from None
    except yaml.YAMLError as error:
        raise builder.give_up("OL004", f"not YAML: {str(error).splitlines()[0]}", None) from None


def scalar_of(text: str) -> Any:
    """What a plain scalar means, for a value written on the command line; ValueError if it is refused."""
    value, refusal = _resolve(text)
    if refusal is not None:
        raise ValueError(refusal[1] + (f" ({refusal[2]})" if refusal[2] else ""))
    return value


def _take(event: Any, builder: TreeBuilder) -> None:
    if isinstance(event, yaml.ScalarEvent):
        _scalar(event, builder)
    elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
        _check_tag(event, builder)
        holder = LocatedDict() if isinstance(event, yaml.MappingStartEvent) else LocatedList()
        builder.begin(holder, _mark(event), event.anchor)
    elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
        builder.end()
    elif isinstance(event, yaml.AliasEvent):
        builder.alias(str(event.anchor), _mark(event))


def _mark(event: Any) -> Mark:
    start, end = event.start_mark, event.end_mark
    return Mark(start.line + 1, start.column + 1, max(1, end.column - start.column) if start.line == end.line else 1)


def _scalar(event: Any, builder: TreeBuilder) -> None:
    at, text = _mark(event), event.value
    plain = event.implicit[0] and event.tag != "!"
    if builder.wants_key:
        _check_tag(event, builder)
        if plain and (text in _NULL or text in _SWITCH):
            builder.problem("OL011", f"the key {text!r} is not text to every YAML reader", at, "Put it in quotes.")
        builder.key(text, at, merging=plain and text == "<<")
        return
    value: Any = text
    tag = None if plain or event.implicit[1] else event.tag
    if plain and text == "Null" and builder.current_key == "type":
        builder.scalar(text, at, event.anchor)  # the pretend pass and model: nothing has a null for its type
        return
    if plain or tag in (_TAG + "int", _TAG + "float", _TAG + "bool", _TAG + "null"):
        value, refusal = _resolve(text)
        if refusal is not None:
            builder.problem(refusal[0], refusal[1], at, refusal[2])
    _check_tag(event, builder)
    builder.scalar(value, at, event.anchor)


def _check_tag(event: Any, builder: TreeBuilder) -> None:
    tag = event.tag
    if tag is not None and tag not in _KNOWN_TAGS:
        written = "!!" + tag[len(_TAG) :] if tag.startswith(_TAG) else tag
        builder.problem(
            "OL007",
            f"the tag {written} is refused: a workflow holds data, not objects",
            _mark(event)._replace(length=len(written)),
            "Write the value without the tag.",
        )


def _resolve(text: str) -> tuple[Any, tuple[str, str, str] | None]:
    """The value of a plain scalar, and (code, message, hint) where it does not have a single meaning."""
    if text in _NULL:
        return None, None
    if text in _TRUE:
        return True, None
    if text in _FALSE:
        return False, None
    if text in _SWITCH:
        truth = "true" if text.lower() in ("yes", "on") else "false"
        message = f"`{text}` is {truth} to some YAML readers and text to others"
        return text, ("OL008", message, f'Write `{truth}`, or "{text}" in quotes if text is meant.')
    if text[0] not in "0123456789+-.":
        return text, None
    return _numeric(text)


def _numeric(text: str) -> tuple[Any, tuple[str, str, str] | None]:
    if _LEADING_ZERO.match(text):
        meaning = f"`{text}` is an octal number to some YAML readers and a decimal one to others"
        return text, ("OL008", meaning, "Write it without the leading 0, or in quotes if text is meant.")
    if _PLAIN_NUMBER.match(text):
        try:
            return number(text), None
        except OverflowError:
            return 0, ("OL009", f"`{text}` is too large for a number", "")
        except TooLong:
            return 0, ("OL009", f"a number of {len(text)} digits is refused", "Put it in quotes if text is meant.")
    if _HEX.match(text):
        return (int(text, 16), None) if len(text) <= 18 else (0, ("OL009", "the number has too many digits", ""))
    if _NOT_FINITE.match(text):
        return 0, ("OL009", f"`{text}` is not a finite number", "Leave the setting out, or write a large number.")
    if _SEXAGESIMAL.match(text):
        meaning = f"`{text}` is a number to base 60 to some YAML readers"
        return text, ("OL008", meaning, f'Write "{text}" in quotes if text is meant.')
    if _UNDERSCORED.match(text) or _OTHER_BASE.match(text):
        meaning = f"`{text}` is a number to some YAML readers and text to others"
        return text, ("OL008", meaning, "Write the plain digits, or put it in quotes if text is meant.")
    return text, None


def _unprintable(text: str, error: yaml.reader.ReaderError, builder: TreeBuilder) -> Exception:
    """A character that YAML does not allow; where it stands is looked up, the parser counts bytes."""
    found = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    if found is None:
        return builder.give_up("OL004", f"not YAML: {error.reason}", None)
    line = text.count("\n", 0, found.start()) + 1
    column = found.start() - text.rfind("\n", 0, found.start())
    name = f"the control character U+{ord(found.group()):04X}"
    return builder.give_up("OL002", f"{name} has no place in a text file", Mark(line, column))


def _syntax(error: yaml.MarkedYAMLError, builder: TreeBuilder) -> Exception:
    mark = error.problem_mark or error.context_mark
    at = Mark(mark.line + 1, mark.column + 1) if mark else None
    said = error.problem or error.context or "cannot be read"
    message = f"not YAML: {said}"
    if error.context and error.problem:
        where = f" (line {error.context_mark.line + 1})" if error.context_mark else ""
        message = f"not YAML: {error.context}{where}, {said}"
    hint = ""
    if "\\t" in said or "tab" in said:
        hint = "Indent with spaces: YAML does not allow tabs."
    elif "mapping values are not allowed" in said:
        hint = "Text with `: ` in it must stand in quotes; otherwise look at the indentation of the line above."
    elif "flow" in (error.context or "") or "block mapping" in (error.context or ""):
        hint = "Look for a missing bracket or quote, or a wrong indentation; text that begins with { or [ needs quotes."
    return builder.give_up("OL004", message, at, hint)
