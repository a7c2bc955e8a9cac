"""Tools under a chat template: whether it writes them at all, and in which form it wants the arguments of a call.

Templates differ: most write a call's arguments through `tojson` and want an object, some join them as text. Some write
no tools at all, without a word. So each template is tried once with an invented conversation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.training.conversations import Message

Tools = Sequence[Mapping[str, Any]]
_Render = Callable[[Sequence[Message], Tools, bool], str]

_NAME, _ARGUMENT, _RESULT = "probe_of_a_call", "probe-of-an-argument", "probe-of-a-result"
_TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "probe_of_a_tool",
        "description": "A tool.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string", "description": "Where."}}},
    },
}


class ToolCalls:
    """What one chat template does with tools. `render` takes messages, tools and whether to ask for an answer."""

    def __init__(self, render: _Render) -> None:
        self._render = render
        self._as_text: bool | None = None
        self._writes_tools: bool | None = None
        self._writes_calls: bool | None = None

    def render(self, messages: Sequence[Message], tools: Tools, ask: bool) -> str:
        """The conversation as text, arguments in the form that the template takes."""
        if any("tool_calls" in message for message in messages):
            self._try_calls()
            if self._as_text:
                messages = [_with_text(message) for message in messages]
        return self._render(messages, tools, ask)

    def unsupported(self, messages: Sequence[Message], tools: Tools) -> str | None:
        """What of tools the conversation has and the template does not write, in words; None when nothing is lacking."""
        hint = "use a base whose template does, or `data.template`"
        if tools and not self._knows_tools():
            return f"the chat template does not write tools; {hint}"
        if any("tool_calls" in message for message in messages):
            self._try_calls()
            if not self._writes_calls:
                return f"the chat template does not write tool calls and their results; {hint}"
        return None

    def _knows_tools(self) -> bool:
        if self._writes_tools is None:
            question = [{"role": "user", "content": "question"}]
            try:
                self._writes_tools = "probe_of_a_tool" in self._render(question, [_TOOL], True)
            except Exception:  # whatever the template raises
                self._writes_tools = False
        return self._writes_tools

    def _try_calls(self) -> None:
        if self._writes_calls is not None:
            return
        self._as_text = self._writes_calls = False
        for as_text in (False, True):
            messages = [_with_text(message) for message in _PROBE] if as_text else _PROBE
            try:
                text = self._render(messages, [_TOOL] if self._knows_tools() else [], False)
            except Exception:  # the wrong form of arguments, or no place for a tool's result
                continue
            if _NAME in text and _ARGUMENT in text and _RESULT in text:
                self._as_text, self._writes_calls = as_text, True
                return


def lost(messages: Sequence[Message], text: str) -> str | None:
    """The first message but the assistant's whose words are not in the rendered `text`; None when all are. A template may
    trim, and write a tool's result as JSON; one that skips a role it does not know must be noticed."""
    for number, message in enumerate(messages, start=1):
        content = message["content"].strip()
        if message["role"] == "assistant" or not content or content in text:
            continue
        if message["role"] == "tool" and json.dumps(content, ensure_ascii=False)[1:-1] in text:
            continue
        return f"the chat template leaves out or rewrites message {number} ({message['role']})"
    return None


def _with_text(message: Message) -> Message:
    if "tool_calls" not in message:
        return message
    calls = [
        {
            **call,
            "function": {
                **call["function"],
                "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False),
            },
        }
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


_PROBE: Sequence[Message] = (
    {"role": "user", "content": "question"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "abcdef123", "type": "function", "function": {"name": _NAME, "arguments": {"place": _ARGUMENT}}}
        ],
    },
    {"role": "tool", "content": _RESULT, "name": _NAME, "tool_call_id": "abcdef123"},
    {"role": "assistant", "content": "answer"},
)
