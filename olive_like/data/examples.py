"""What a row means, once its shape is known: the few forms that everything after works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]  # role, content, tool_calls


@dataclass(frozen=True)
class Pair:
    """Text to continue, and its continuation. Plain text is a continuation of nothing."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Chat:
    """A conversation, with the tools that the assistant may call."""

    messages: list[Message]
    tools: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Labelled:
    """One text or a pair of texts, with a class or a number."""

    texts: tuple[str, ...]
    label: Any


@dataclass(frozen=True)
class Tagged:
    """Words with a tag each."""

    words: list[str]
    tags: list[Any]


@dataclass(frozen=True)
class Preference:
    """The same beginning with a better and a worse end."""

    prompt: str | list[Message]
    chosen: str | list[Message]
    rejected: str | list[Message]


@dataclass(frozen=True)
class Question:
    """A question whose answer is a piece of the context; without an answer, `start` is -1."""

    question: str
    context: str
    start: int
    answer: str


Example = Pair | Chat | Labelled | Tagged | Preference | Question
