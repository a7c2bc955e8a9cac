"""Rows of the common formats, as conversations (or plain text), checked one by one before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from toolkit.errors import InvalidInput, Problem
from toolkit.files.schema import did_you_mean
from toolkit.planning.method_settings import FORMATS_OF
from toolkit.training.rows import Row, Source, raise_problems

Message = dict[str, str]  # role, content: what chat templates take
ROLES = ("system", "developer", "user", "assistant", "tool")
_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "function_response": "tool", "observation": "tool"}
_CHAT_KEYS = ("messages", "conversations")


@dataclass(frozen=True, slots=True)
class Example:
    """One row: a conversation that ends with the assistant, or plain text (then `messages` is empty)."""

    where: str
    messages: tuple[Message, ...] = ()
    text: str = ""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What comes before the assistant's last answer."""
        return self.messages[:-1]

    @property
    def split_key(self) -> str:
        """Two rows with one key ask the same thing and stay on one side of the split: all before the first answer."""
        if not self.messages:
            return self.text
        asked = []
        for message in self.messages:
            if message["role"] == "assistant":
                break
            asked.append(f"{message['role']}\n{message['content']}")
        return "\0".join(asked)


class _Wrong(Exception):
    """What is wrong with one row."""


def examples_of(source: Source, format_: str = "auto", method: str = "sft") -> tuple[str, tuple[Example, ...]]:
    """The format of a source (detected on its first row when `auto`) and its rows as examples for a method.

    Raises InvalidInput when the method learns from other formats, and with the place of every row that has not the shape of the format.
    """
    chosen = format_ if format_ != "auto" else _detect(source.rows[0], method)
    read = _reader(chosen)
    problems = []
    examples = []
    for row in source.rows:
        try:
            if not isinstance(row.value, Mapping):
                raise _Wrong("must be a JSON object")
            examples.append(read(row.value, row.where))
        except _Wrong as wrong:
            problems.append(Problem(row.where, str(wrong)))
    raise_problems(problems, hint=f"rows are read as {chosen}; `data.format` in the recipe names another format")
    return chosen, tuple(examples)


def _reader(format_: str) -> Callable[[Mapping[str, object], str], Example]:
    from toolkit.training.preferences import PREFERENCE_FORMATS  # which are made of this module's examples

    return PREFERENCE_FORMATS[format_] if format_ in PREFERENCE_FORMATS else FORMATS[format_]


def _detect(row: Row, method: str) -> str:
    if not isinstance(row.value, Mapping):
        raise InvalidInput([Problem(row.where, "must be a JSON object")])
    known = FORMATS_OF[method]
    found = [format_ for format_ in _looks_like(row.value) if format_ in known]
    if found:
        return found[0]
    like = _looks_like(row.value)
    if like:
        learns = ", ".join(name for name, formats in FORMATS_OF.items() if like[0] in formats)
        text = f"is a row of the format {like[0]}, which method {method} cannot learn from; {learns} can"
        hint = f"{method} takes {_ASKS[known[0]]}"
        raise InvalidInput([Problem(row.where, text)], hint=hint)
    has = ", ".join(map(str, row.value)) or "no keys"
    first, last = [_ASKS[format_] for format_ in known[:-1]], _ASKS[known[-1]]
    needs = f"{', '.join(first)}, or {last}" if first else last
    raise InvalidInput([Problem(row.where, f"has {has}; a row needs {needs}")])


_ASKS: Mapping[str, str] = {
    "messages": "messages",
    "prompt-completion": "prompt and completion",
    "alpaca": "instruction and output",
    "sharegpt": "conversations",
    "text": "text",
    "preference": "prompt, chosen and rejected",
    "unpaired-preference": "prompt, completion and label",
    "prompt-only": "prompt",
}


def _looks_like(value: Mapping[object, object]) -> list[str]:
    """The formats that a row may be of, the most telling first."""
    has = {key for key, item in value.items() if item is not None}
    found = []
    if {"chosen", "rejected"} <= has:
        found.append("preference")
    if {"prompt", "completion", "label"} <= has:
        found.append("unpaired-preference")
    if isinstance(value.get("messages"), list):
        found.append("messages")
    if isinstance(turns := value.get("conversations"), list):
        first = next(iter(turns), None)
        found.append("messages" if isinstance(first, Mapping) and "role" in first else "sharegpt")
    if {"prompt", "completion"} <= has:
        found.append("prompt-completion")
    if {"instruction", "output"} <= has:
        found.append("alpaca")
    if "text" in has:
        found.append("text")
    if "prompt" in has:
        found.append("prompt-only")
    return found


def _messages(value: Mapping[str, object], where: str) -> Example:
    key = next((key for key in _CHAT_KEYS if key in value), None)
    if key is None:
        raise _Wrong(f"has no 'messages'{_near('messages', value)}")
    if value.get("tools"):
        raise _Wrong("has 'tools'; tool calls are not supported")
    return Example(where, _conversation(value[key], key, "role", "content"))


def _sharegpt(value: Mapping[str, object], where: str) -> Example:
    if "conversations" not in value:
        raise _Wrong(f"has no 'conversations'{_near('conversations', value)}")
    system: list[object] = [{"from": "system", "value": value["system"]}] if value.get("system") else []
    turns = value["conversations"]
    return Example(
        where, _conversation([*system, *turns] if isinstance(turns, list) else turns, "conversations", "from", "value")
    )


def _prompt_completion(value: Mapping[str, object], where: str) -> Example:
    prompt, completion = _need(value, "prompt"), _need(value, "completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return Example(where, _conversation([*prompt, *completion], "prompt + completion", "role", "content"))
    return Example(where, _turns(_text(prompt, "prompt"), _text(completion, "completion")))


def _alpaca(value: Mapping[str, object], where: str) -> Example:
    asked = _text(_need(value, "instruction"), "instruction")
    more = value.get("input")
    if more is not None and not isinstance(more, str):
        raise _Wrong("'input' must be text")
    _check_unicode(more or "", "'input'")
    question = f"{asked}\n\n{more}" if more and more.strip() else asked
    turns = _turns(question, _text(_need(value, "output"), "output"))
    system = value.get("system")
    return Example(
        where, ({"role": "system", "content": system}, *turns) if isinstance(system, str) and system else turns
    )


def _plain_text(value: Mapping[str, object], where: str) -> Example:
    return Example(where, text=_text(_need(value, "text"), "text"))


FORMATS: Mapping[str, Callable[[Mapping[str, object], str], Example]] = {
    "messages": _messages,
    "prompt-completion": _prompt_completion,
    "alpaca": _alpaca,
    "sharegpt": _sharegpt,
    "text": _plain_text,
}


def _conversation(value: object, key: str, role_key: str, content_key: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise _Wrong(f"'{key}' must be a list of messages")
    messages = []
    for number, message in enumerate(value, start=1):
        if not isinstance(message, Mapping):
            raise _Wrong(f"message {number} must be an object with '{role_key}' and '{content_key}'")
        if message.get("tool_calls"):
            raise _Wrong(f"message {number} has 'tool_calls', which are not supported")
        for part in (role_key, content_key):
            if part not in message:
                raise _Wrong(f"message {number} has no '{part}'{_near(part, message)}")
        said, content = message[role_key], message[content_key]
        role = _SHAREGPT_ROLES.get(str(said), str(said)) if role_key == "from" else str(said)
        if role not in ROLES:
            raise _Wrong(f"message {number} has the unknown role {said!r}{did_you_mean(role, ROLES)}")
        if not isinstance(content, str):
            raise _Wrong(f"the content of message {number} must be text")
        _check_unicode(content, f"the content of message {number}")
        if role == "assistant" and not content.strip():
            raise _Wrong(f"the assistant's answer (message {number}) is empty")
        messages.append({"role": role, "content": content})
    if messages[-1]["role"] != "assistant":
        raise _Wrong(f"ends with {messages[-1]['role']}; the last message must be the assistant's")
    if messages[0]["role"] == "assistant":
        raise _Wrong("begins with the assistant; there is nothing it answers")
    return tuple(messages)


def _turns(question: str, answer: str) -> tuple[Message, ...]:
    return {"role": "user", "content": question}, {"role": "assistant", "content": answer}


def _need(value: Mapping[str, object], key: str) -> object:
    if value.get(key) is None:
        raise _Wrong(f"has no '{key}'{_near(key, value)}")
    return value[key]


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"'{key}' must be text")
    _check_unicode(value, f"'{key}'")
    if not value.strip():
        raise _Wrong(f"'{key}' is empty")
    return value


def _check_unicode(value: str, what: str) -> None:
    """JSON can spell half a surrogate pair, which no encoding can write."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Wrong(f"{what} is not valid Unicode text (character {error.start + 1})") from error


def _near(wanted: str, value: Iterable[object]) -> str:
    """`; did you mean 'mesages'?` when the row has a key that was probably meant."""
    return did_you_mean(wanted, [key for key in value if key != wanted])
