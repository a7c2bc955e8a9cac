"""Which characters of a rendered conversation are the assistant's own, for any chat template.

A template is a program, so nothing is assumed about it. Each answer is rendered a second time as a marker that no
text contains; where the marker comes out is where the answer stands. That needs no `{% generation %}` in the template,
and a template that rewrites an answer (drops its reasoning, say) is noticed instead of trained on wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import TkError
from toolkit.training.conversations import Message
from toolkit.training.tool_calls import ToolCalls, Tools, lost

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
    """A conversation as text, the spans in it that count (end-of-turn token included), and whether one ends the last
    answer. `turns` are the places after each answer, where a long row may be divided; `dropped` counts answers whose
    reasoning the template leaves out."""

    text: str
    spans: tuple[Span, ...]
    ends: bool
    turns: tuple[int, ...] = ()
    dropped: int = 0


class Template:
    """The chat template of a tokenizer, able to say where the assistant speaks."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.control_tokens = _control_tokens(tokenizer)
        self._calls = ToolCalls(self._plainly)
        self.opening = self._opening()

    def render(self, messages: Sequence[Message], tools: Tools = (), *, ask: bool = False) -> str:
        """The conversation as text; `ask` adds what makes the model answer. Raises CannotMask with the template's words."""
        try:
            if tools or any("tool_calls" in message or message["role"] == "tool" for message in messages):
                return self._calls.render(messages, tools, ask)
            return self._plainly(messages, tools, ask)
        except Exception as error:  # Jinja errors, and whatever a template raises by itself (roles must alternate …)
            raise CannotMask(f"the chat template refuses it: {error}") from error

    def mask(self, messages: Sequence[Message], tools: Tools = (), train_on: str = "assistant") -> Rendered:
        """Render a conversation and find what counts: the assistant's spans, only the `last`, or `all`. An answer of
        weight 0 does not count. Raises CannotMask."""
        text = self.render(messages, tools)
        if wrong := self._calls.unsupported(messages, tools):
            raise CannotMask(wrong)
        spans = self._spans_by_marker(messages, tools, text) or self._spans_by_prefix(messages, tools, text)
        if not spans:
            raise CannotMask("the chat template rewrites an answer, so its tokens cannot be told from the rest")
        if wrong := lost(messages, text):
            raise CannotMask(wrong)
        ended = tuple(self._with_end_of_turn(text, span) for span in spans)
        answers = [message for message in messages if message["role"] == "assistant"]
        counted = tuple(span for span, answer in zip(ended, answers, strict=True) if answer.get("weight") != 0)
        if train_on == "last":
            counted = counted[-1:] if answers[-1].get("weight") != 0 else ()
        elif train_on == "all":
            counted = ((0, len(text)),)
        dropped = sum(bool(reason) and reason not in text for reason in map(_reasoning, answers))
        return Rendered(text, counted, ended[-1] != spans[-1], tuple(end for _, end in ended), dropped)

    def end_of_turn(self) -> str | None:
        """The token that ends an answer (`<|im_end|>`, `</s>` …); None when the template writes none."""
        question, answer = {"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}
        rendered = self.mask([question, answer])
        tail = rendered.text[slice(*rendered.spans[-1])] if rendered.ends else ""
        return next((token for token in self.control_tokens if tail.endswith(token)), None)

    def unlearnt_opening(self) -> str | None:
        """What a server puts before an answer and the rows that are trained on do not have, if there is such a thing: a
        template for reasoning may open a `<think>` that its rendering of past answers leaves out."""
        question, answer = {"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}
        try:
            asked, told = self.render([question], ask=True), self.render([question, answer])
        except CannotMask:
            return None
        return None if told.startswith(asked) else asked[_common(asked, told) :]

    def _plainly(self, messages: Sequence[Message], tools: Tools, ask: bool) -> str:
        plain = [{key: value for key, value in message.items() if key != "weight"} for message in messages]
        return str(
            self._tokenizer.apply_chat_template(
                plain, tools=list(tools) or None, tokenize=False, add_generation_prompt=ask
            )
        )

    def _spans_by_marker(self, messages: Sequence[Message], tools: Tools, text: str) -> tuple[Span, ...] | None:
        answers = [message for message in messages if message["role"] == "assistant"]
        marked = iter(f"\ue000{number}\ue001" for number in range(len(answers)))
        stand_ins = [
            {**{key: value for key, value in message.items() if key != "tool_calls"}, "content": next(marked)}
            if message["role"] == "assistant"
            else message
            for message in messages
        ]
        try:
            frame = re.split("\ue000[0-9]+\ue001", self.render(stand_ins, tools))
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
            if "tool_calls" in answer:  # written as the template likes, up to what ends the turn
                stop = text.find(after, position) if after.strip() else -1
            else:
                forms = (
                    position + len(form)
                    for form in _forms(answer["content"])
                    if text.startswith(form + after, position)
                )
                stop = next(forms, -1)
            if stop < 0:
                return None
            spans.append((self._answer_begins(text, position, _reasoning(answer)), stop))
            position = stop
        return tuple(spans) if text[position:] == frame[-1] else None

    def _answer_begins(self, text: str, content: int, reasoning: str) -> int:
        """Where the model takes over: after the generation prompt, which may be before the content (a `<think>` block,
        empty or not, that the model must therefore learn to write)."""
        opening = self.opening
        found = text.rfind(opening, 0, content) if opening else -1
        begins = found + len(opening)
        between = text[begins:content]
        # What stands between must be the template's own frame of an answer, not an earlier turn.
        short = len(between) <= 64 + (len(reasoning) if reasoning in between else 0)
        is_frame = found >= 0 and short and not any(token in between for token in self.control_tokens)
        return begins if is_frame else content

    def _spans_by_prefix(self, messages: Sequence[Message], tools: Tools, text: str) -> tuple[Span, ...] | None:
        """For templates that treat real answers unlike markers: the answer is what a longer conversation adds."""
        spans = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            begins = _common(text, self.render(messages[:index], tools, ask=True))
            shorter = self.render(messages[: index + 1], tools)
            ends = len(text) if index == len(messages) - 1 else len(shorter)
            if not text.startswith(shorter) or not begins < ends:
                return None
            if "tool_calls" in message:
                stop: int | None = self._before_end_of_turn(text, begins, ends)
            else:
                closings = (self._closes(text, form, begins, ends) for form in _forms(message["content"]))
                stop = next((stop for stop in closings if stop is not None), None)
            if stop is None:
                return None
            spans.append((begins, stop))
        return tuple(spans)

    def _before_end_of_turn(self, text: str, begins: int, ends: int) -> int:
        """Where a turn's own words end: before the control token that ends it."""
        turn = text[begins:ends].rstrip()
        token = next((token for token in self.control_tokens if turn.endswith(token)), "")
        return begins + len(turn) - len(token)

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


def ensure_template(tokenizer: PreTrainedTokenizerBase, own: Path | None = None) -> bool:
    """Give a tokenizer the template of a file (`own`), or the plain one when it has none; True when that was needed. It
    is saved with the adapter.

    Raises TkError when the file is no Jinja template, or when there is no end-of-text token either: a model trained
    without one never stops.
    """
    if own is not None:
        tokenizer.chat_template = _read_template(own)
        return False
    if tokenizer.chat_template:
        return False
    if not tokenizer.eos_token:
        raise TkError(
            "the base has neither a chat template nor an end-of-text token", hint="use an instruction-tuned base"
        )
    tokenizer.chat_template = PLAIN_TEMPLATE
    return True


def _read_template(path: Path) -> str:
    from jinja2.exceptions import TemplateSyntaxError
    from transformers.utils.chat_template_utils import _compile_jinja_template

    try:
        text = path.read_text(encoding="utf-8")
        _compile_jinja_template(text)  # the environment that renders it, `{% generation %}` included
    except (OSError, UnicodeDecodeError) as error:
        raise TkError(f"the chat template cannot be read: {error}", where=str(path)) from error
    except TemplateSyntaxError as error:
        raise TkError(f"not a Jinja template: {error.message}", where=f"{path}:{error.lineno}") from error
    return text


def _reasoning(answer: Message) -> str:
    """The reasoning of an answer, from a field of its own or from before `</think>`; empty without."""
    if reason := answer.get("reasoning_content"):
        return str(reason).strip()
    before, closed, _ = answer["content"].rpartition("</think>")
    return before.rpartition("<think>")[2].strip() if closed else ""


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
