"""Conversations as chat templates take them, checked message by message: roles, words, tool calls and their results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.files.schema import did_you_mean

Message = dict[str, Any]  # role and content; also tool_calls, tool_call_id, name, reasoning_content, weight
ROLES = ("system", "developer", "user", "assistant", "tool")
_SHAREGPT_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "function_call": "assistant",
    "function_response": "tool",
    "observation": "tool",
}
_REASONING = ("reasoning_content", "reasoning", "thinking")
_KEPT = ("name", "tool_call_id")


class Wrong(Exception):
    """What is wrong with one row, without its place."""


def conversation(
    value: object, key: str, role_key: str = "role", content_key: str = "content", *, system: object = None
) -> tuple[Message, ...]:
    """A list of messages as a conversation that ends with the assistant. `key` names the list in messages; `system` is
    a system prompt from a column of its own. Raises Wrong."""
    value = _transposed(value)
    if not isinstance(value, list) or not value:
        raise Wrong(f"'{key}' must be a list of messages")
    messages = [_message(message, number, role_key, content_key) for number, message in enumerate(value, start=1)]
    if system and messages[0]["role"] not in ("system", "developer"):
        messages.insert(0, {"role": "system", "content": text_of(system, "system")})
    if messages[-1]["role"] != "assistant":
        raise Wrong(f"ends with {messages[-1]['role']}; the last message must be the assistant's")
    if messages[0]["role"] == "assistant":
        raise Wrong("begins with the assistant; there is nothing it answers")
    return tuple(messages)


def tools_of(value: object) -> tuple[Mapping[str, Any], ...]:
    """The tools that a row offers, as JSON Schema or as text that holds it. Raises Wrong."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except ValueError as error:
            raise Wrong("'tools' is text that is not valid JSON") from error
    if not isinstance(value, list):
        raise Wrong("'tools' must be a list of functions")
    for number, tool in enumerate(value, start=1):
        inner = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            raise Wrong(f"tool {number} must be an object with the name of a function")
    return tuple(without_nothing(tool) for tool in value)


def text_of(value: object, key: str) -> str:
    """A value that must be text with something in it. Raises Wrong."""
    if not isinstance(value, str):
        raise Wrong(f"'{key}' must be text")
    check_unicode(value, f"'{key}'")
    if not value.strip():
        raise Wrong(f"'{key}' is empty")
    return value


def need(value: Mapping[str, object], key: str) -> object:
    """The value of a key that must be there. Raises Wrong."""
    if value.get(key) is None:
        raise Wrong(f"has no '{key}'{near(key, value)}")
    return value[key]


def near(wanted: str, value: Iterable[object]) -> str:
    """`; did you mean 'mesages'?` when the row has a key that was probably meant."""
    return did_you_mean(wanted, [key for key in value if key != wanted])


def check_unicode(value: str, what: str) -> None:
    """JSON can spell half a surrogate pair, which no encoding can write. Raises Wrong."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Wrong(f"{what} is not valid Unicode text (character {error.start + 1})") from error


def without_nothing(value: Any) -> Any:
    """A value without keys that have none: tables write every key of a column into each of its rows."""
    if isinstance(value, Mapping):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


def _message(message: object, number: int, role_key: str, content_key: str) -> Message:
    if not isinstance(message, Mapping):
        raise Wrong(f"message {number} must be an object with '{role_key}' and '{content_key}'")
    calls = message.get("tool_calls")
    for part in (role_key,) if calls else (role_key, content_key):
        if message.get(part) is None:
            raise Wrong(f"message {number} has no '{part}'{near(part, message)}")
    said = str(message[role_key])
    role = _SHAREGPT_ROLES.get(said, said) if role_key == "from" else said
    if role not in ROLES:
        raise Wrong(f"message {number} has the unknown role {message[role_key]!r}{did_you_mean(role, ROLES)}")
    content = _content(message.get(content_key), number)
    if said == "function_call" and role_key == "from":
        calls, content = [_parsed(content, f"the function_call of message {number}")], ""
    checked: Message = {"role": role, "content": content}
    if calls:
        if role != "assistant":
            raise Wrong(f"message {number} has tool_calls, which only the assistant makes")
        checked["tool_calls"] = [_call(call, number) for call in _list(calls, f"the tool_calls of message {number}")]
    if role == "assistant" and not content.strip() and not calls:
        raise Wrong(f"the assistant's answer (message {number}) is empty")
    for name in _REASONING:
        if isinstance(message.get(name), str) and message[name].strip():
            check_unicode(message[name], f"the reasoning of message {number}")
            checked["reasoning_content"] = message[name]
            break
    checked |= {name: str(message[name]) for name in _KEPT if message.get(name) is not None}
    if (weight := message.get("weight")) is not None:
        if weight not in (0, 1):
            raise Wrong(f"the weight of message {number} must be 0 or 1, not {weight!r}")
        if not weight:
            checked["weight"] = 0
    return checked


def _content(content: object, number: int) -> str:
    """Text, or a list of parts of text as some services write it."""
    what = f"the content of message {number}"
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in content
        ]
        if not parts or not all(isinstance(part, str) for part in parts):
            raise Wrong(f"{what} must be text; parts of another kind cannot be learnt from")
        content = "".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise Wrong(f"{what} must be text")
    check_unicode(content, what)
    return content


def _call(call: object, number: int) -> dict[str, Any]:
    """A tool call in the form that templates read: `{"type": "function", "function": {"name", "arguments"}}`, arguments
    as an object even where they were written as JSON inside a string."""
    inner = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise Wrong(f"a tool call of message {number} has no name of a function")
    arguments = inner.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _parsed(arguments or "{}", f"the arguments of {inner['name']} in message {number}")
    if not isinstance(arguments, Mapping):
        raise Wrong(f"the arguments of {inner['name']} in message {number} must be an object")
    made: dict[str, Any] = {
        "type": "function",
        "function": {"name": inner["name"], "arguments": without_nothing(arguments)},
    }
    return {"id": str(call["id"]), **made} if call.get("id") is not None else made


def _parsed(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Wrong(f"{what} is not valid JSON") from error


def _list(value: object, what: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise Wrong(f"{what} must be a list")
    return value


def _transposed(value: object) -> object:
    """Messages that a table keeps as one list for each key, as rows of their own."""
    if isinstance(value, Mapping) and value and all(isinstance(part, list) for part in value.values()):
        columns = list(value.values())
        if len({len(column) for column in columns}) == 1:
            return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    return value
