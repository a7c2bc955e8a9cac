"""Examples as token ids with labels: the loss counts the assistant's tokens and the token that ends its turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.training.examples import Example
from toolkit.training.masks import CannotMask, Rendered, Span, Template
from toolkit.training.rows import raise_problems

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # a label that does not count, as torch's cross entropy has it


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as token ids and labels (lists of equal length), row by row, and how many tokens the loss counts."""

    input_ids: list[list[int]]
    labels: list[list[int]]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.input_ids)

    @property
    def tokens(self) -> int:
        return sum(map(len, self.input_ids))

    @property
    def longest(self) -> int:
        """Tokens of the longest row that a training step computes."""
        return max(map(len, self.input_ids), default=0)

    @property
    def spoken(self) -> Encoded:
        """The rows whose likelihood is what is wanted: all of them. Of other methods' rows, those of good answers."""
        return self

    @property
    def loss_tokens(self) -> int:
        return sum(label != IGNORED for row in self.labels for label in row)


def encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Encoded:
    """Tokenise examples in one call and mask everything but the assistant.

    Raises InvalidInput naming each row that the chat template cannot render or that carries its control tokens, and
    when rows are longer than `max_length` tokens: nothing is ever cut off silently.
    """
    if not tokenizer.is_fast:
        raise TkError(
            "the base has no fast tokenizer, so tokens cannot be traced to characters", hint="it needs a tokenizer.json"
        )
    template = Template(tokenizer)
    rendered = _render_all(examples, template, tokenizer)
    if not rendered:
        return Encoded([], [])
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
    labels = [
        _labels(ids, offsets, row.spans)
        for ids, offsets, row in zip(input_ids, batch["offset_mapping"], rendered, strict=True)
    ]
    unended = [index for index, row in enumerate(rendered) if not row.ends]
    if unended and tokenizer.eos_token_id is None:
        raise TkError(
            "neither the chat template nor the tokenizer has a token that ends an answer", hint="use another base"
        )
    for index in unended:
        input_ids[index].append(tokenizer.eos_token_id)
        labels[index].append(tokenizer.eos_token_id)
    notes = (
        ("the chat template writes no token that ends an answer; the end-of-text token was added",) if unended else ()
    )
    _check_lengths(input_ids, max_length)
    problems = [
        Problem(example.where, "leaves no token to learn from")
        for example, row in zip(examples, labels, strict=True)
        if all(label == IGNORED for label in row)
    ]
    raise_problems(problems)
    return Encoded(input_ids, labels, notes if any(example.messages for example in examples) else ())


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
    texts = [template.render(example.prompt, ask=True) for example in examples]
    batch = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False)
    ids: list[list[int]] = batch["input_ids"]
    return ids


def _render_all(examples: Sequence[Example], template: Template, tokenizer: PreTrainedTokenizerBase) -> list[Rendered]:
    rendered = []
    problems = []
    begin = tokenizer.bos_token if _adds_bos(tokenizer) else ""
    for example in examples:
        if not example.messages:
            text = begin + example.text
            rendered.append(Rendered(text, ((len(begin), len(text)),), ends=False))
            continue
        try:
            row = template.mask(example.messages)
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
    contents = [message["content"] for message in example.messages]
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
        while index < len(ids) and offsets[index][1] <= begins:
            index += 1
        while index < len(ids) and offsets[index][0] < ends:
            if offsets[index][1] > begins:
                labels[index] = ids[index]
            index += 1
    return labels


def _check_lengths(input_ids: list[list[int]], max_length: int) -> None:
    too_long = [len(ids) for ids in input_ids if len(ids) > max_length]
    if too_long:
        rows = "1 row is" if len(too_long) == 1 else f"{len(too_long)} of {len(input_ids)} rows are"
        text = f"{rows} longer than {max_length} tokens, the longest {max(too_long)}; nothing is cut off silently"
        raise InvalidInput(
            [Problem("recipe.train.max_length", text)],
            hint=f"set train.max_length to {max(too_long)} or more, or shorten the rows",
        )


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer by itself begins a text with its begin token."""
    ids = tokenizer("a")["input_ids"]
    return bool(tokenizer.bos_token_id is not None and ids and ids[0] == tokenizer.bos_token_id)
