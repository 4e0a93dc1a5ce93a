"""Messages of a conversation in the one form that chat templates take."""

from __future__ import annotations

import json
from typing import Any

from olive_like.data.errors import DataError
from olive_like.data.examples import Message

ROLES = ("system", "developer", "user", "assistant", "tool")
_SHAREGPT = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "function_call": "call",
    "observation": "tool",
    "tool": "tool",
    "function_response": "tool",
}


def conversation(turns: list[Any]) -> list[Message]:
    """Messages of either form."""
    first = turns[0] if turns else None
    return from_sharegpt(turns) if isinstance(first, dict) and "from" in first else normal_messages(turns)


def normal_messages(messages: list[Any]) -> list[Message]:
    """Messages as OpenAI writes them, checked."""
    found: list[Message] = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict):
            raise DataError(f"message {number} is no mapping of role and content")
        role, content = message.get("role"), message.get("content")
        if role is None:
            raise DataError(f"message {number} has no role", f"Roles: {', '.join(ROLES)}.")
        if role == "function":
            role = "tool"
        if role not in ROLES:
            raise DataError(f"message {number} has the unknown role {role!r}", f"Roles: {', '.join(ROLES)}.")
        if isinstance(content, list):
            content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if isinstance(content, dict):
            raise DataError(f"message {number} ({role}) is a mapping, not text")
        calls = message.get("tool_calls") or ([message["function_call"]] if message.get("function_call") else [])
        if not isinstance(calls, list):
            raise DataError(f"message {number}: `tool_calls` is a list of calls")
        one: Message = {"role": role, "content": "" if content is None else str(content)}
        if calls:
            one["tool_calls"] = [_call(call, number) for call in calls]
        if not calls and not one["content"].strip():
            raise DataError(f"message {number} ({role}) is empty")
        found.append(one)
    return found


def from_sharegpt(messages: list[Any]) -> list[Message]:
    """Messages as ShareGPT writes them: from and value."""
    found: list[Message] = []
    for number, message in enumerate(messages, 1):
        who = message.get("from") if isinstance(message, dict) else None
        if who is None:
            raise DataError(f"message {number} has no `from`", f"Known: {', '.join(_SHAREGPT)}.")
        role = _SHAREGPT.get(str(who))
        if role is None:
            raise DataError(f"message {number} is from the unknown {who!r}", f"Known: {', '.join(_SHAREGPT)}.")
        value = message.get("value")
        text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
        if not text.strip():
            raise DataError(f"message {number} ({who}) is empty")
        if role == "call":
            found.append({"role": "assistant", "content": "", "tool_calls": _calls(text, number)})
        else:
            found.append({"role": role, "content": text})
    return found


def tool_list(value: Any) -> list[Any]:
    """The tools of a row: a list, or JSON text of one; each as a function of OpenAI's form."""
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError("`tools` holds text that is no JSON") from None
    if not value:
        return []
    tools = value if isinstance(value, list) else [value]
    return [
        tool if isinstance(tool, dict) and "function" in tool else {"type": "function", "function": tool}
        for tool in tools
    ]


def _calls(text: str, number: int) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError:
        raise DataError(f"message {number}: the function call is no JSON") from None
    return [_call(call, number) for call in (value if isinstance(value, list) else [value])]


def _call(call: Any, number: int) -> dict[str, Any]:
    inner = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(inner, dict) or not inner.get("name"):
        raise DataError(f"message {number}: a tool call needs a name")
    arguments = inner.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError:
            raise DataError(f"message {number}: the arguments of {inner['name']} are no JSON") from None
    return {"type": "function", "function": {"name": str(inner["name"]), "arguments": arguments}}
