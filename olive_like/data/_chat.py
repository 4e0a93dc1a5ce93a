"""Conversations as text, with the parts that the assistant says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError

from olive_like.data.errors import DataError
from olive_like.data.examples import Chat, Message

# For tokenizers that have no template: needs no token that they might not have.
PLAIN_TEMPLATE = (
    "{% for message in messages %}### {{ message['role'] | capitalize }}:\n{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)

Span = tuple[int, int]


@dataclass
class Rendered:
    """A text and the spans of it that are to be learnt."""

    text: str
    spans: list[Span] = field(default_factory=list)


class ChatRenderer:
    """A tokenizer's chat template, or another one, with what it cannot express put into the text."""

    def __init__(self, tokenizer: Any, template: str | bool | None = None) -> None:
        self._tokenizer = tokenizer
        own = getattr(tokenizer, "chat_template", None)
        self.template: str = template if isinstance(template, str) else own or PLAIN_TEMPLATE
        self.notes: list[str] = []
        if not isinstance(template, str) and not own:
            self.notes.append("the tokenizer has no chat template; messages are written as `### Role:` paragraphs")

    def render(self, chat: Chat) -> Rendered:
        """The conversation as text; the spans are the assistant's turns with their end marker."""
        if not any(message["role"] == "assistant" for message in chat.messages):
            raise DataError("the conversation has no message of the assistant: there is nothing to learn")
        messages, tools = self._expressible(chat)
        text = self._apply(messages, tools)
        spans: list[Span] = []
        position = 0
        for index, message in enumerate(messages):
            if message["role"] == "assistant":
                span = self._span(text, messages, tools, index, position)
                spans.append(span)
                position = span[1]
        return Rendered(text, spans)

    def prompt(self, messages: list[Message]) -> str:
        """A conversation up to where the assistant speaks."""
        return self._apply(messages, [], generate=True)

    def _span(self, text: str, messages: list[Message], tools: list[Any], index: int, position: int) -> Span:
        """Where a turn stands: by rendering up to it; where a template rewrites earlier turns, by its words."""
        before = self._apply(messages[:index], tools, generate=True) if index else ""
        upto = self._apply(messages[: index + 1], tools)
        if index and text.startswith(before) and text.startswith(upto) and len(before) < len(upto):
            return len(before), len(upto.rstrip())
        words = str(messages[index]["content"]).strip()
        start = text.find(words, position)
        if start < 0 or not words:
            raise DataError("the chat template does not keep what the assistant says, so it cannot be learnt")
        return start, start + len(words)

    def _expressible(self, chat: Chat) -> tuple[list[Message], list[Any]]:
        """The messages, with tools and calls as text where the template leaves them out."""
        messages, tools = chat.messages, chat.tools
        calls = [call["function"]["name"] for m in messages for call in m.get("tool_calls", [])]
        if not calls and not tools:
            return messages, tools
        try:
            text = self._apply(messages, tools)
        except DataError:
            text = ""
        names = [t["function"].get("name", "") for t in tools if isinstance(t.get("function"), dict)]
        if (
            text
            and all(name in text for name in names)
            and all(text.count(name) >= calls.count(name) for name in calls)
        ):
            return messages, tools
        note = "the chat template knows no tools; they are written as JSON into the messages"
        if note not in self.notes:
            self.notes.append(note)
        return _tools_as_text(messages, tools), []

    def _apply(self, messages: list[Message], tools: list[Any], generate: bool = False) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages,
                    tools=tools or None,
                    chat_template=self.template,
                    tokenize=False,
                    add_generation_prompt=generate,
                )
            )
        except (TemplateError, TypeError, KeyError, ValueError) as error:
            raise DataError(f"the chat template refuses the messages: {error}") from None


def _tools_as_text(messages: list[Message], tools: list[Any]) -> list[Message]:
    found: list[Message] = []
    for message in messages:
        calls = message.get("tool_calls", [])
        text = str(message["content"])
        parts = [text] if text else []
        parts += [f"<tool_call>{json.dumps(call['function'], ensure_ascii=False)}</tool_call>" for call in calls]
        found.append({"role": message["role"], "content": "\n".join(parts)})
    if tools:
        listed = "Tools:\n" + "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        if found and found[0]["role"] == "system":
            found[0] = {"role": "system", "content": f"{found[0]['content']}\n\n{listed}"}
        else:
            found.insert(0, {"role": "system", "content": listed})
    return found
