"""Keep secrets out of everything that is written: logs, events, records, reports."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_NO_SECRET = re.compile(r"^(TOKENIZERS_|.*_KEY_?(FILE|PATH)$|SSH_AUTH_SOCK$|PYTHON)", re.IGNORECASE)
_SHORTEST = 8  # a "secret" of two letters would blot out half of every text
_NUMBER = re.compile(r"[0-9.eE+-]+")
_URL = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/:@'\"\\]*:[^\s/@'\"\\]+@")


class Redactor:
    """Replaces the values of secret environment variables by their names, and passwords in URLs by stars."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        found = secrets(os.environ if environment is None else environment)
        self._names = {value: name for name, value in found.items()}
        # The same as it stands inside a JSON text.
        self._names |= {json.dumps(value, ensure_ascii=ascii)[1:-1]: name for ascii in (True, False)
                        for value, name in list(self._names.items())}  # fmt: skip
        self._like_numbers = any(_NUMBER.fullmatch(value) for value in found.values())
        # The longest first: one secret may be the beginning of another.
        values = sorted(self._names, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, values))) if values else None

    def text(self, text: str) -> str:
        """The text, which may be a JSON document, without what must not be seen."""
        if self._values is not None:
            text = self._values.sub(lambda match: "${" + self._names[match.group()] + "}", text)
        return _URL.sub(r"\g<scheme>***:***@", text) if "://" in text else text

    def raw(self, data: bytes) -> bytes:
        """The same for bytes in whatever encoding."""
        return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def json(self, value: Any) -> str:
        """JSON-like data as one line without what must not be seen."""
        if self._like_numbers:
            value = self._walk(value)
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
        return text if self._like_numbers else self.text(text)

    def data(self, value: T) -> T:
        """JSON-like data without what must not be seen; what has nothing to hide comes back as it is."""
        if self._like_numbers:
            walked: T = self._walk(value)
            return walked
        text = json.dumps(value, default=str)
        shown = self.text(text)
        redacted: T = value if shown == text else json.loads(shown)
        return redacted

    def _walk(self, value: Any) -> Any:
        """Text by text: slower, and right also where a secret might be part of a number."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._walk(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._walk(item) for item in value]
        return value


def secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables whose name says that their value is a secret."""
    return {
        name: value
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and not _NO_SECRET.match(name) and len(value) >= _SHORTEST
    }


def restore(value: Any, environment: Mapping[str, str]) -> Any:
    """Put secrets back where a redacted document names their variable."""
    found = secrets(environment)
    if isinstance(value, str):
        for name, secret in found.items():
            value = value.replace("${" + name + "}", secret)
        return value
    if isinstance(value, Mapping):
        return {key: restore(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item, environment) for item in value]
    return value
