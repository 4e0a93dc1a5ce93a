"""What of a user's file may not appear in a message or an excerpt."""

from __future__ import annotations

import re

from olive_like.redact import Redactor

# Tokens that are known by their look, for those who write them into a file.
_TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|gh[opsur]_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,})")


class Hider:
    """Takes secrets out of text: those of the environment, passwords in URLs, and well-known tokens."""

    def __init__(self) -> None:
        self._redactor = Redactor()

    def text(self, text: str) -> str:
        return _TOKEN.sub("***", self._redactor.text(text))
