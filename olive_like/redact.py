"""Keep secrets out of everything that is written: logs, events, records, reports."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_NO_SECRET = re.compile(r"^(TOKENIZERS_|.*_KEY_?(FILE|PATH)$|SSH_AUTH_SOCK$|PYTHON)", re.IGNORECASE)
_SHORTEST = 6  # a "secret" of two letters would blot out half of every text
_URL = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/:@'\"]*:[^\s/@'\"]+@")


class Redactor:
    """Replaces the values of secret environment variables by their names, and passwords in URLs by stars."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        found = secrets(os.environ if environment is None else environment)
        self._names = {value: name for name, value in found.items()}
        # The longest first: one secret may be the beginning of another.
        values = sorted(self._names, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, values))) if values else None

    def text(self, text: str) -> str:
        """The text without what must not be seen."""
        if self._values is not None:
            text = self._values.sub(lambda match: "${" + self._names[match.group()] + "}", text)
        return _URL.sub(r"\g<scheme>***:***@", text) if "://" in text else text

    def raw(self, data: bytes) -> bytes:
        """The same for bytes in whatever encoding."""
        return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def data(self, value: Any) -> Any:
        """The same for JSON-like data, names of entries included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key) if isinstance(key, str) else key: self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
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
