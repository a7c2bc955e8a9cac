"""Which characters of a rendered conversation are the assistant's own, for any chat template.

A template is a program, so nothing is assumed about it. Each answer is rendered a second time as a marker that no
text contains; where the marker comes out is where the answer stands. That needs no `{% generation %}` in the template,
and a template that rewrites an answer (drops its reasoning, say) is noticed instead of trained on wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.errors import TkError
from toolkit.training.examples import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]  # first character, one past the last

# For a base without a chat template: no control token but the end of the text, which every tokenizer has.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '### Answer:\\n' + message['content'] + eos_token + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '### Question:\\n' + message['content'] + '\\n\\n' }}"
    "{% else %}{{ '### ' + message['role'].capitalize() + ':\\n' + message['content'] + '\\n\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Answer:\\n' }}{% endif %}"
)


class CannotMask(Exception):
    """This conversation cannot be told apart under this template; the message says why."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text, the assistant's spans in it (end-of-turn token included), and whether one ends the last."""

    text: str
    spans: tuple[Span, ...]
    ends: bool


class Template:
    """The chat template of a tokenizer, able to say where the assistant speaks."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.control_tokens = _control_tokens(tokenizer)
        self._generation_prompt = self._opening()

    def render(self, messages: Sequence[Message], *, ask: bool = False) -> str:
        """The conversation as text; `ask` adds what makes the model answer. Raises CannotMask with the template's words."""
        try:
            text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask)
        except Exception as error:  # Jinja errors, and whatever a template raises by itself (roles must alternate …)
            raise CannotMask(f"the chat template refuses it: {error}") from error
        return str(text)

    def mask(self, messages: Sequence[Message]) -> Rendered:
        """Render a conversation and find the assistant's spans. Raises CannotMask."""
        text = self.render(messages)
        spans = self._spans_by_marker(messages, text) or self._spans_by_prefix(messages, text)
        if not spans:
            raise CannotMask("the chat template rewrites an answer, so its tokens cannot be told from the rest")
        ended = tuple(self._with_end_of_turn(text, span) for span in spans)
        return Rendered(text, ended, ended[-1] != spans[-1])

    def end_of_turn(self) -> str | None:
        """The token that ends an answer (`<|im_end|>`, `</s>` …); None when the template writes none."""
        question, answer = {"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}
        rendered = self.mask([question, answer])
        tail = rendered.text[slice(*rendered.spans[-1])] if rendered.ends else ""
        return next((token for token in self.control_tokens if tail.endswith(token)), None)

    def _spans_by_marker(self, messages: Sequence[Message], text: str) -> tuple[Span, ...] | None:
        answers = [message["content"] for message in messages if message["role"] == "assistant"]
        markers = [f"\ue000{number}\ue001" for number in range(len(answers))]
        marked = iter(markers)
        stand_ins = [
            {**message, "content": next(marked)} if message["role"] == "assistant" else message for message in messages
        ]
        try:
            frame = re.split("\ue000[0-9]+\ue001", self.render(stand_ins))
        except CannotMask:
            return None
        if len(frame) != len(answers) + 1:
            return None
        spans = []
        position = 0
        for before, answer, after in zip(frame, answers, frame[1:], strict=False):
            if not text.startswith(before, position):
                return None
            position += len(before)
            written = next((form for form in _forms(answer) if text.startswith(form + after, position)), None)
            if written is None:
                return None
            spans.append((self._answer_begins(text, position), position + len(written)))
            position += len(written)
        return tuple(spans) if text[position:] == frame[-1] else None

    def _answer_begins(self, text: str, content: int) -> int:
        """Where the model takes over: after the generation prompt, which may be before the content (an empty
        `<think>` block that the template writes and the model must therefore learn to write)."""
        opening = self._generation_prompt
        found = text.rfind(opening, 0, content) if opening else -1
        begins = found + len(opening)
        between = text[begins:content]
        # What stands between must be the template's own frame of an answer, not an earlier turn.
        is_frame = found >= 0 and not any(token in between for token in self.control_tokens) and len(between) <= 64
        return begins if is_frame else content

    def _spans_by_prefix(self, messages: Sequence[Message], text: str) -> tuple[Span, ...] | None:
        """For templates that treat real answers unlike markers: the answer is what a longer conversation adds."""
        spans = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            begins = _common(text, self.render(messages[:index], ask=True))
            shorter = self.render(messages[: index + 1])
            ends = len(text) if index == len(messages) - 1 else len(shorter)
            if not text.startswith(shorter) or not begins < ends:
                return None
            stop = next(
                (stop for form in _forms(message["content"]) if (stop := self._closes(text, form, begins, ends))), None
            )
            if stop is None:
                return None
            spans.append((begins, stop))
        return tuple(spans)

    def _closes(self, text: str, answer: str, begins: int, ends: int) -> int | None:
        """Where `answer` ends within a turn, if nothing but its end token follows: a short answer may also stand inside
        that token's name."""
        position = text.rfind(answer, begins, ends)
        if position < 0:
            return None
        rest = text[position + len(answer) : ends].strip()
        return position + len(answer) if not rest or rest in self.control_tokens else None

    def _with_end_of_turn(self, text: str, span: Span) -> Span:
        begins, ends = span
        rest = text[ends:]
        blank = len(rest) - len(rest.lstrip())
        token = next((token for token in self.control_tokens if rest.startswith(token, blank)), None)
        return (begins, ends + blank + len(token)) if token else span

    def _opening(self) -> str:
        question = [{"role": "user", "content": "question"}]
        try:
            asked, told = self.render(question, ask=True), self.render(question)
        except CannotMask:
            return ""
        return asked[len(told) :] if asked.startswith(told) else ""


def ensure_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Give a tokenizer without a chat template the plain one; True when it was needed. It is saved with the adapter.

    Raises TkError when the tokenizer has no end-of-text token either: a model trained without one never stops.
    """
    if tokenizer.chat_template:
        return False
    if not tokenizer.eos_token:
        raise TkError(
            "the base has neither a chat template nor an end-of-text token", hint="use an instruction-tuned base"
        )
    tokenizer.chat_template = PLAIN_TEMPLATE
    return True


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def _forms(answer: str) -> tuple[str, ...]:
    """An answer as templates write it: as it is, trimmed, or without the reasoning before `</think>`."""
    said = answer.split("</think>")[-1]
    return tuple(
        dict.fromkeys((answer, answer.strip(), answer.lstrip(), answer.rstrip(), said.lstrip("\n"), said.strip()))
    )


def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    known = {*added, *tokenizer.all_special_tokens}
    return tuple(sorted((token for token in known if token.strip()), key=lambda token: (-len(token), token)))
