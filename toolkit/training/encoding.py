"""Examples as token ids with labels: the loss counts the assistant's tokens and the token that ends its turn."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.training.examples import Example
from toolkit.training.masks import CannotMask, Rendered, Span, Template
from toolkit.training.overlength import IGNORED, Overlength, Tokens, shorten
from toolkit.training.rows import MOST_PROBLEMS, raise_problems

_BEGIN, _END = itemgetter(0), itemgetter(1)  # of a token, in characters

__all__ = ["IGNORED", "Encoded", "encode", "encode_prompts"]

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as token ids and labels (lists of equal length), row by row, and what was noticed on the way.

    `origins` says which example a row came from: several rows come from one that was divided. `cut` are the examples of
    which a row is only a part, also where the other parts had nothing to learn from.
    """

    input_ids: list[list[int]]
    labels: list[list[int]]
    notes: tuple[str, ...] = ()
    overlength: Overlength | None = None
    origins: tuple[int, ...] = ()
    cut: frozenset[int] = frozenset()

    @property
    def rows(self) -> int:
        return len(self.input_ids)

    @property
    def tokens(self) -> int:
        return sum(map(len, self.input_ids))

    @property
    def loss_tokens(self) -> int:
        return sum(label != IGNORED for row in self.labels for label in row)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(map(len, self.input_ids), default=0)

    @property
    def sha256(self) -> str:
        """Digest of ids and labels: it changes with the template, its date included, and with the tokenizer."""
        digest = hashlib.sha256()
        for ids, labels in zip(self.input_ids, self.labels, strict=True):
            digest.update(array("q", (len(ids), *ids, *labels)).tobytes())
        return digest.hexdigest()

    @property
    def spoken(self) -> Encoded:
        """The rows whose likelihood is what is wanted: all of them. Of other methods' rows, those of good answers."""
        return self

    def whole(self) -> Iterator[tuple[int, list[int], list[int]]]:
        """Index of the example, ids and labels of every row that is an undivided example."""
        origins = self.origins or tuple(range(self.rows))
        rows = zip(origins, self.input_ids, self.labels, strict=True)
        return (row for row in rows if row[0] not in self.cut)


def encode(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    on_overlength: str = "error",
    train_on: str = "assistant",
    template: Template | None = None,
) -> Encoded:
    """Tokenise examples in one call and mask what does not count: everything but the assistant, unless `train_on` says
    `last` or `all`.

    Rows longer than `max_length` tokens are an error, divided (`split`) or cut off (`truncate`), and counted. Raises
    InvalidInput naming each row that the chat template cannot render, that carries its control tokens, or that leaves
    nothing to learn from.
    """
    counts = Overlength(on_overlength, max_length)
    if not examples:
        return Encoded([], [], overlength=counts)
    tokens, places, notes = _tokenise(examples, tokenizer, template or Template(tokenizer), train_on, max_length)
    input_ids: list[list[int]] = []
    labels: list[list[int]] = []
    origins: list[int] = []
    nothing: list[Problem] = []
    for index, (row, turns) in enumerate(zip(tokens, places, strict=True)):
        counted = max(row[1], default=IGNORED) != IGNORED  # ids are not negative
        kept, counts = shorten(row, turns, counts)
        if not counted or all(max(piece) == IGNORED for _, piece in kept):
            cut = f" in its first {max_length} tokens" if counted else ""
            nothing.append(Problem(examples[index].where, f"leaves no token to learn from{cut}"))
        for ids, piece in kept:
            input_ids.append(ids)
            labels.append(piece)
            origins.append(index)
    if on_overlength == "error":
        _refuse_long(input_ids, examples, counts)
    raise_problems(nothing)
    in_part = frozenset(index for index, (ids, _) in enumerate(tokens) if len(ids) > max_length)
    return Encoded(input_ids, labels, notes, counts, tuple(origins), in_part)


def tokenise_texts(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Texts as token ids, each begun as the tokenizer begins a text and ended with its end-of-text token."""
    if tokenizer.eos_token_id is None:
        raise TkError("the tokenizer has no end-of-text token to put between documents", hint="use another base")
    if not texts:
        return []
    begin = tokenizer.bos_token if _adds_bos(tokenizer) else ""
    batch = tokenizer(
        [begin + text for text in texts],
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        truncation=False,
        verbose=False,
    )
    return [[*ids, tokenizer.eos_token_id] for ids in batch["input_ids"]]


def encode_prompts(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of what comes before the last answer of each conversation, with the words that make a model answer."""
    template = Template(tokenizer)
    texts = [template.render(example.prompt, example.tools, ask=True) for example in examples]
    batch = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False)
    ids: list[list[int]] = batch["input_ids"]
    return ids


def _tokenise(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, template: Template, train_on: str, longest: int
) -> tuple[list[Tokens], list[list[int]], tuple[str, ...]]:
    """Ids and labels of every example, the token positions after the answers of those above `longest`, and notes."""
    if not tokenizer.is_fast:
        raise TkError(
            "the base has no fast tokenizer, so tokens cannot be traced to characters", hint="it needs a tokenizer.json"
        )
    rendered = _render_all(examples, template, tokenizer, train_on)
    batch = tokenizer(
        [row.text for row in rendered],
        add_special_tokens=False,  # the template wrote them
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        truncation=False,
        verbose=False,
    )
    input_ids: list[list[int]] = batch["input_ids"]
    offsets: list[Sequence[Span]] = batch["offset_mapping"]
    labels = [_labels(ids, at, row.spans) for ids, at, row in zip(input_ids, offsets, rendered, strict=True)]
    turns = [_positions(at, row.turns) if len(at) > longest else [] for at, row in zip(offsets, rendered, strict=True)]
    unended = [index for index, row in enumerate(rendered) if not row.ends]
    if unended and tokenizer.eos_token_id is None:
        raise TkError(
            "neither the chat template nor the tokenizer has a token that ends an answer", hint="use another base"
        )
    for index in unended:
        input_ids[index].append(tokenizer.eos_token_id)
        labels[index].append(tokenizer.eos_token_id)
    return list(zip(input_ids, labels, strict=True)), turns, _notes(examples, rendered, template)


def _notes(examples: Sequence[Example], rendered: Sequence[Rendered], template: Template) -> tuple[str, ...]:
    notes = []
    chats = [row for row, example in zip(rendered, examples, strict=True) if example.messages]
    if any(not row.ends for row in chats):
        notes.append("the chat template writes no token that ends an answer; the end-of-text token was added")
    if dropped := sum(row.dropped for row in chats):
        notes.append(f"the chat template leaves out the reasoning of {dropped} answers, so it is not learnt")
    if chats and (opening := template.unlearnt_opening()):
        notes.append(
            f"when asked, the chat template opens an answer with {opening!r}, which rows that are trained on do not "
            "have; the model learns to answer without it"
        )
    return tuple(notes)


def _render_all(
    examples: Sequence[Example], template: Template, tokenizer: PreTrainedTokenizerBase, train_on: str
) -> list[Rendered]:
    rendered = []
    problems = []
    begin = tokenizer.bos_token if _adds_bos(tokenizer) else ""
    for example in examples:
        if not example.messages:
            text = begin + example.text
            rendered.append(Rendered(text, ((len(begin), len(text)),), ends=False))
            continue
        try:
            row = template.mask(example.messages, example.tools, train_on)
        except CannotMask as wrong:
            problems.append(Problem(example.where, str(wrong)))
            continue
        if token := _smuggled(example, row, template):
            problems.append(
                Problem(
                    example.where, f"a message contains the control token {token!r}, which would end or fake a turn"
                )
            )
            continue
        rendered.append(row)
    raise_problems(problems)
    return rendered


def _smuggled(example: Example, row: Rendered, template: Template) -> str | None:
    """A control token of the template inside a message. `<s>` in a text is harmless unless the template itself uses it."""
    written = [token for token in template.control_tokens if token in row.text]
    contents = [
        f"{message['content']}{message.get('reasoning_content', '')}{message.get('tool_calls', '')}"
        for message in example.messages
    ]
    for token in written:
        inside = sum(content.count(token) for content in contents)
        if inside and row.text.count(token) > inside:
            return token
    return None


def _labels(ids: list[int], offsets: Sequence[Span], spans: tuple[Span, ...]) -> list[int]:
    """A token counts when any of its characters is the assistant's; spans and offsets both run from left to right."""
    labels = [IGNORED] * len(ids)
    index = 0
    for begins, ends in spans:
        index = bisect_right(offsets, begins, lo=index, key=_END)
        beyond = bisect_left(offsets, ends, lo=index, key=_BEGIN)
        labels[index:beyond] = ids[index:beyond]
        index = beyond
    return labels


def _positions(offsets: Sequence[Span], places: Sequence[int]) -> list[int]:
    """The number of tokens that end at or before each place in the text."""
    return [bisect_right(offsets, place, key=_END) for place in places]


def _refuse_long(input_ids: list[list[int]], examples: Sequence[Example], counts: Overlength) -> None:
    if not counts.rows:
        return
    rows = "1 row is" if counts.rows == 1 else f"{counts.rows} of {counts.of_rows} rows are"
    share = f"{counts.tokens / counts.of_tokens:.1%} of all tokens would be cut"
    text = f"{rows} longer than {counts.max_length} tokens, the longest {counts.longest}; {share}"
    long = [example.where for example, ids in zip(examples, input_ids, strict=True) if len(ids) > counts.max_length]
    places = ", ".join(long[:MOST_PROBLEMS]) + (
        f" and {len(long) - MOST_PROBLEMS} more" if len(long) > MOST_PROBLEMS else ""
    )
    raise InvalidInput(
        [Problem("recipe.train.max_length", f"{text}: {places}")],
        hint=f"set train.max_length to {counts.longest} or more, or data.on_overlength to split or truncate",
    )


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer by itself begins a text with its begin token."""
    ids = tokenizer("a")["input_ids"]
    return bool(tokenizer.bos_token_id is not None and ids and ids[0] == tokenizer.bos_token_id)
