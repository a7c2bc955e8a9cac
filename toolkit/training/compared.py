"""Rows of the methods that compare answers, as token ids: rendered and masked as every other row, then cut to what the
comparison is about. Only tokens of the answer count, also where the prompt holds earlier answers of the assistant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from toolkit.errors import InvalidInput, Problem
from toolkit.training.encoding import IGNORED, Encoded, encode, encode_prompts
from toolkit.training.examples import Example
from toolkit.training.preferences import Judged, Pair, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from toolkit.training.overlength import Overlength
    from toolkit.training.rewards import Reward


@dataclass(frozen=True, slots=True)
class EncodedPairs:
    """Pairs of answers: row i of `chosen` is preferred to row i of `rejected`; both begin with the prompt."""

    chosen: Encoded
    rejected: Encoded

    @property
    def rows(self) -> int:
        return self.chosen.rows

    @property
    def tokens(self) -> int:
        return self.chosen.tokens + self.rejected.tokens

    @property
    def loss_tokens(self) -> int:
        return self.chosen.loss_tokens + self.rejected.loss_tokens

    @property
    def longest(self) -> int:
        return max(self.chosen.longest, self.rejected.longest)

    @property
    def notes(self) -> tuple[str, ...]:
        return self.chosen.notes

    @property
    def overlength(self) -> Overlength | None:
        return self.chosen.overlength

    @property
    def spoken(self) -> Encoded:
        return self.chosen

    def whole(self) -> Iterator[tuple[int, list[int], list[int]]]:
        return iter(())  # rows end with the answer, where the template may go on


@dataclass(frozen=True, slots=True)
class EncodedJudged:
    """Answers with their judgement, row by row."""

    answers: Encoded
    wanted: tuple[bool, ...]

    @property
    def rows(self) -> int:
        return self.answers.rows

    @property
    def tokens(self) -> int:
        return self.answers.tokens

    @property
    def loss_tokens(self) -> int:
        return self.answers.loss_tokens

    @property
    def longest(self) -> int:
        return self.answers.longest

    @property
    def notes(self) -> tuple[str, ...]:
        good, bad = sum(self.wanted), len(self.wanted) - sum(self.wanted)
        said = f"{good} answers are wanted and {bad} are not"
        uneven = self.wanted and not 1 / 2 <= good / max(bad, 1) <= 2
        return (*self.answers.notes, f"{said}; preference.desirable_weight can balance them" if uneven else said)

    @property
    def overlength(self) -> Overlength | None:
        return self.answers.overlength

    def whole(self) -> Iterator[tuple[int, list[int], list[int]]]:
        return iter(())  # as of pairs

    @property
    def spoken(self) -> Encoded:
        kept = [index for index, wanted in enumerate(self.wanted) if wanted]
        ids, labels = self.answers.input_ids, self.answers.labels
        return Encoded([ids[index] for index in kept], [labels[index] for index in kept])


@dataclass(frozen=True, slots=True)
class EncodedTasks:
    """Prompts to be answered, `room` tokens left for each answer, and what is rewarded."""

    tasks: tuple[Task, ...]
    input_ids: list[list[int]]
    room: int
    rewards: tuple[Reward, ...] = ()
    notes: tuple[str, ...] = ()
    overlength: Overlength | None = None

    @property
    def rows(self) -> int:
        return len(self.input_ids)

    @property
    def tokens(self) -> int:
        return sum(map(len, self.input_ids))

    @property
    def loss_tokens(self) -> int:
        return 0  # only sampled tokens count, and how many there are is known afterwards

    @property
    def longest(self) -> int:
        return max(map(len, self.input_ids), default=0) + self.room

    @property
    def spoken(self) -> Encoded:
        return Encoded([], [])

    def whole(self) -> Iterator[tuple[int, list[int], list[int]]]:
        return iter(())  # no row is trained on as it is


def encode_pairs(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_length: int) -> EncodedPairs:
    """Pairs as rows. Raises InvalidInput as `encode` does, for either answer."""
    pairs = cast("Sequence[Pair]", examples)
    both = [Example(pair.where, pair.messages, tools=pair.tools) for pair in pairs]
    both += [Example(pair.where, pair.rejected, tools=pair.tools) for pair in pairs]
    rows = _answers_alone(both, [*pairs, *pairs], tokenizer, max_length)
    half = len(pairs)
    chosen = Encoded(rows.input_ids[:half], rows.labels[:half], rows.notes, rows.overlength)
    return EncodedPairs(chosen, Encoded(rows.input_ids[half:], rows.labels[half:]))


def encode_judged(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_length: int) -> EncodedJudged:
    """Judged answers as rows. Raises InvalidInput as `encode` does."""
    judged = cast("Sequence[Judged]", examples)
    return EncodedJudged(_answers_alone(judged, judged, tokenizer, max_length), tuple(row.label for row in judged))


def encode_tasks(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_length: int, room: int
) -> EncodedTasks:
    """Prompts as token ids. Raises InvalidInput when one leaves less than `room` tokens of `max_length` for an answer."""
    tasks = tuple(cast("Sequence[Task]", examples))
    ids = encode_prompts(tasks, tokenizer) if tasks else []
    too_long = [len(row) for row in ids if len(row) + room > max_length]
    if too_long:
        text = (
            f"{len(too_long)} of {len(ids)} prompts leave less than the {room} tokens of grpo.max_completion_length, "
            f"the longest has {max(too_long)} tokens; nothing is cut off silently"
        )
        hint = f"set train.max_length to {max(too_long) + room} or more, or shorten the prompts"
        raise InvalidInput([Problem("recipe.train.max_length", text)], hint=hint)
    return EncodedTasks(tasks, ids, room)


def answer_begins(labels: Sequence[int]) -> int:
    """The first token of a row that counts."""
    return next(index for index, label in enumerate(labels) if label != IGNORED)


def _answers_alone(
    conversations: Sequence[Example],
    rows: Sequence[Pair | Judged],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> Encoded:
    """Each conversation up to the end of its last answer, with labels for what the assistant says after the prompt."""
    encoded = encode(conversations, tokenizer, max_length)
    ids, labels = [], []
    for conversation, row, tokens, counted in zip(conversations, rows, encoded.input_ids, encoded.labels, strict=True):
        answers = sum(message["role"] == "assistant" for message in conversation.messages[row.turns :])
        begins, ends = _span_of_last(counted, answers)
        ids.append(tokens[:ends])
        labels.append([IGNORED] * begins + counted[begins:ends])
    return Encoded(ids, labels, encoded.notes, encoded.overlength)


def _span_of_last(labels: Sequence[int], answers: int) -> tuple[int, int]:
    """Where the last so many answers of a row begin and end: each is a run of counted tokens."""
    begins = [
        index for index, label in enumerate(labels) if label != IGNORED and (index == 0 or labels[index - 1] == IGNORED)
    ]
    ends = max(index for index, label in enumerate(labels) if label != IGNORED) + 1
    return begins[-answers], ends
