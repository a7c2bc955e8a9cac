"""Rows of the common formats, as conversations (or plain text), checked one by one before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.errors import InvalidInput, Problem
from toolkit.planning.method_settings import FORMATS_OF
from toolkit.training.conversations import (
    Message,
    Wrong,
    check_unicode,
    conversation,
    near,
    need,
    text_of,
    tools_of,
)
from toolkit.training.rows import Row, Source, raise_problems

_CHAT_KEYS = ("messages", "conversations")


@dataclass(frozen=True, slots=True)
class Example:
    """One row: a conversation that ends with the assistant and the tools it may call, or plain text (then `messages` is
    empty)."""

    where: str
    messages: tuple[Message, ...] = ()
    text: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()

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


def examples_of(
    source: Source, format_: str = "auto", columns: Mapping[str, str] | None = None, method: str = "sft"
) -> tuple[str, tuple[Example, ...]]:
    """The format of a source (detected on its first row when `auto`) and its rows as examples for a method.

    `columns` says which of our columns a column of the file stands for. Raises InvalidInput with the place of every row
    that has not the shape of the format.
    """
    chosen = format_ if format_ != "auto" else detect(source.rows[0], columns, method)
    problems = []
    examples = []
    for row in source.rows:
        try:
            examples.append(example_of(row, chosen, columns))
        except Wrong as wrong:
            problems.append(Problem(row.where, str(wrong)))
    raise_problems(problems, hint=format_hint(chosen))
    return chosen, tuple(examples)


def example_of(row: Row, format_: str, columns: Mapping[str, str] | None = None) -> Example:
    """One row as an example. Raises Wrong, which does not say where."""
    if row.wrong:
        raise Wrong(row.wrong)
    if not isinstance(row.value, Mapping):
        raise Wrong("must be a JSON object")
    return _reader(format_)(_renamed(row.value, columns), row.where)


def _reader(format_: str) -> Callable[[Mapping[str, object], str], Example]:
    from toolkit.training.preferences import PREFERENCE_FORMATS  # which are made of this module's examples

    return PREFERENCE_FORMATS[format_] if format_ in PREFERENCE_FORMATS else FORMATS[format_]


def format_hint(format_: str) -> str:
    """What to do when rows are not of the format they were read as."""
    return f"rows are read as {format_}; `data.format` names another format, `data.columns` other column names"


def detect(row: Row, columns: Mapping[str, str] | None = None, method: str = "sft") -> str:
    """The format of a row, by its keys. Raises InvalidInput when it is of none that the method learns from."""
    if not isinstance(row.value, Mapping):
        raise InvalidInput([Problem(row.where, row.wrong or "must be a JSON object")])
    try:
        value = _renamed(row.value, columns)
    except Wrong as wrong:
        raise InvalidInput([Problem(row.where, str(wrong))]) from wrong
    like, known = _looks_like(value), FORMATS_OF[method]
    if found := next((format_ for format_ in like if format_ in known), None):
        return found
    if like:
        learns = ", ".join(name for name, formats in FORMATS_OF.items() if like[0] in formats)
        text = f"is a row of the format {like[0]}, which method {method} cannot learn from; {learns} can"
        raise InvalidInput([Problem(row.where, text)], hint=f"a row of method {method} has {_ASKS[known[0]]}")
    has = ", ".join(map(str, value)) or "no keys"
    first, last = [_ASKS[format_] for format_ in known[:-1]], _ASKS[known[-1]]
    needs = f"{', '.join(first)}, or {last}" if first else last
    hint = "name the columns, such as `data.columns: {prompt: question, completion: answer}`"
    raise InvalidInput([Problem(row.where, f"has {has}; a row needs {needs}")], hint=hint)


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


def _looks_like(value: Mapping[str, object]) -> list[str]:
    """The formats that a row may be of, the most telling first."""
    has = {key for key, item in value.items() if item is not None}
    found = []
    if {"chosen", "rejected"} <= has:
        found.append("preference")
    if {"prompt", "completion", "label"} <= has:
        found.append("unpaired-preference")
    for key in _CHAT_KEYS:
        turns = value.get(key)
        if isinstance(turns, list | Mapping):
            first = next(iter(turns), None)
            keys = turns if isinstance(turns, Mapping) else first if isinstance(first, Mapping) else {}
            chat = "from" not in keys and (key == "messages" or "role" in keys)
            found.append("messages" if chat else "sharegpt")
    if {"prompt", "completion"} <= has:
        found.append("prompt-completion")
    if {"instruction", "output"} <= has:
        found.append("alpaca")
    if "text" in has:
        found.append("text")
    if "prompt" in has:
        found.append("prompt-only")
    return found


def unused_columns(rows: Iterable[Row], format_: str, columns: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Columns of the rows that the format does not read, sorted: they are left aside, and that is said."""
    if format_ == "prompt-only":  # rewards may look at any
        return ()
    used = {*_READ[format_], *(columns or {}).values()}
    found: set[str] = set()
    for row in rows:
        if isinstance(row.value, Mapping):
            found.update(map(str, row.value))
    return tuple(sorted(found - used))


def _renamed(value: Mapping[str, object], columns: Mapping[str, str] | None) -> Mapping[str, object]:
    if not columns:
        return value
    for ours, theirs in columns.items():
        if theirs not in value:
            raise Wrong(f"has no {theirs!r}, which data.columns takes for {ours!r}{near(theirs, value)}")
    rest = {key: item for key, item in value.items() if key not in columns.values()}
    return {**rest, **{ours: value[theirs] for ours, theirs in columns.items()}}


def _messages(value: Mapping[str, object], where: str) -> Example:
    key = next((key for key in _CHAT_KEYS if key in value), None)
    if key is None:
        raise Wrong(f"has no 'messages'{near('messages', value)}")
    return Example(where, conversation(value[key], key, system=value.get("system")), tools=_tools(value))


def _sharegpt(value: Mapping[str, object], where: str) -> Example:
    key = next((key for key in reversed(_CHAT_KEYS) if key in value), None)
    if key is None:
        raise Wrong(f"has no 'conversations'{near('conversations', value)}")
    turns = conversation(value[key], key, "from", "value", system=value.get("system"))
    return Example(where, turns, tools=_tools(value))


def _prompt_completion(value: Mapping[str, object], where: str) -> Example:
    prompt, completion = need(value, "prompt"), need(value, "completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        turns = conversation([*prompt, *completion], "prompt + completion", system=value.get("system"))
        return Example(where, turns, tools=_tools(value))
    return Example(where, _turns(text_of(prompt, "prompt"), text_of(completion, "completion"), value.get("system")))


def _alpaca(value: Mapping[str, object], where: str) -> Example:
    asked = text_of(need(value, "instruction"), "instruction")
    more = value.get("input")
    if more is not None and not isinstance(more, str):
        raise Wrong("'input' must be text")
    check_unicode(more or "", "'input'")
    question = f"{asked}\n\n{more}" if more and more.strip() else asked
    return Example(where, _turns(question, text_of(need(value, "output"), "output"), value.get("system")))


def _plain_text(value: Mapping[str, object], where: str) -> Example:
    return Example(where, text=text_of(need(value, "text"), "text"))


FORMATS: Mapping[str, Callable[[Mapping[str, object], str], Example]] = {
    "messages": _messages,
    "prompt-completion": _prompt_completion,
    "alpaca": _alpaca,
    "sharegpt": _sharegpt,
    "text": _plain_text,
}
_READ: Mapping[str, tuple[str, ...]] = {
    "messages": (*_CHAT_KEYS, "system", "tools"),
    "prompt-completion": ("prompt", "completion", "system", "tools"),
    "alpaca": ("instruction", "input", "output", "system"),
    "sharegpt": (*_CHAT_KEYS, "system", "tools"),
    "text": ("text",),
    "preference": ("prompt", "chosen", "rejected", "system"),
    "unpaired-preference": ("prompt", "completion", "label", "system"),
}


def _tools(value: Mapping[str, object]) -> tuple[Mapping[str, Any], ...]:
    return tools_of(value["tools"]) if value.get("tools") else ()


def _turns(question: str, answer: str, system: object) -> tuple[Message, ...]:
    turns = {"role": "user", "content": question}, {"role": "assistant", "content": answer}
    if not system:
        return turns
    return {"role": "system", "content": text_of(system, "system")}, *turns
