"""Rows of the methods that learn from comparisons and rewards: two answers, a judged answer, or a prompt alone.

Each is an `Example` besides, so that splitting, counting and looking for leaks are the same for every method: its
`messages` are the prompt and the answer that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from toolkit.training.conversations import Message, Wrong, conversation, need, text_of
from toolkit.training.examples import Example

_STAND_IN: Message = {"role": "assistant", "content": "answer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Example):
    """A prompt of `turns` messages with the answer that is wanted (`messages`) and one that is not (`rejected`)."""

    rejected: tuple[Message, ...]
    turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Example):
    """A prompt of `turns` messages with an answer, and whether it is wanted."""

    label: bool
    turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Example):
    """A prompt alone (`messages` end with the user), and the row's other columns, which a reward may look at."""

    columns: Mapping[str, object] = field(default_factory=dict)

    @property
    def prompt(self) -> tuple[Message, ...]:
        return self.messages

    @property
    def answer(self) -> str | None:
        """The column `answer` as text; None without it."""
        value = self.columns.get("answer")
        return None if value is None else str(value).strip()


def _pair(value: Mapping[str, object], where: str) -> Pair:
    chosen, rejected = need(value, "chosen"), need(value, "rejected")
    prompt = value.get("prompt")
    if prompt is None:
        prompt, chosen, rejected = _common_prompt(chosen, rejected)
    begun = _prompt(prompt)
    wanted, unwanted = _answered(begun, chosen, "chosen"), _answered(begun, rejected, "rejected")
    if wanted == unwanted:
        raise Wrong("has the same answer as chosen and as rejected, so there is nothing to prefer")
    return Pair(where, wanted, rejected=unwanted, turns=len(begun))


def _judged(value: Mapping[str, object], where: str) -> Judged:
    begun = _prompt(need(value, "prompt"))
    label = need(value, "label")
    if not isinstance(label, bool) and label not in (0, 1, "true", "false", "True", "False"):
        raise Wrong(f"'label' must be true or false, not {label!r}")
    wanted = label in (True, 1, "true", "True")
    return Judged(where, _answered(begun, need(value, "completion"), "completion"), label=wanted, turns=len(begun))


def _task(value: Mapping[str, object], where: str) -> Task:
    columns = {str(key): item for key, item in value.items() if key != "prompt"}
    return Task(where, _prompt(need(value, "prompt")), columns=columns)


PREFERENCE_FORMATS: Mapping[str, Callable[[Mapping[str, object], str], Example]] = {
    "preference": _pair,
    "unpaired-preference": _judged,
    "prompt-only": _task,
}


def _prompt(value: object) -> tuple[Message, ...]:
    """The messages before the answer; text is what the user says."""
    if isinstance(value, str):
        return ({"role": "user", "content": text_of(value, "prompt")},)
    if not isinstance(value, list):
        raise Wrong("'prompt' must be text or a list of messages")
    if value and isinstance(value[-1], Mapping) and value[-1].get("role") == "assistant":
        raise Wrong("'prompt' ends with the assistant; the answer belongs into its own column")
    return conversation([*value, _STAND_IN], "prompt", "role", "content")[:-1]


def _answered(prompt: tuple[Message, ...], answer: object, key: str) -> tuple[Message, ...]:
    """The conversation with an answer: text, or messages of which the last is the assistant's."""
    if isinstance(answer, str):
        return (*prompt, {"role": "assistant", "content": text_of(answer, key)})
    if not isinstance(answer, list) or not answer:
        raise Wrong(f"'{key}' must be text or a list of messages")
    return conversation([*prompt, *answer], f"prompt + {key}", "role", "content")


def _common_prompt(chosen: object, rejected: object) -> tuple[list[object], list[object], list[object]]:
    """Two whole conversations without a prompt of their own share what they begin with."""
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        raise Wrong("has no 'prompt', and 'chosen' and 'rejected' are not whole conversations")
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if not shared:
        raise Wrong("has no 'prompt', and 'chosen' and 'rejected' do not begin alike")
    return chosen[:shared], chosen[shared:], rejected[shared:]
