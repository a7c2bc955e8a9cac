"""Questions from held-out rows, and the model's greedy answers to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.training.batches import like_lengths
from toolkit.training.distributed.team import current
from toolkit.training.encoding import IGNORED, Encoded, encode_prompts
from toolkit.training.examples import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH_TOKENS = 8192  # prompt and answer together: bounds the key-value cache


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out prompt as token ids, its words for people, and the answer that counts as right."""

    input_ids: list[int]
    prompt: str
    expected: str


def questions_of(
    examples: Sequence[Example], encoded: Encoded, tokenizer: PreTrainedTokenizerBase, wanted: int, max_new_tokens: int
) -> tuple[Question, ...]:
    """Up to `wanted` held-out prompts whose true answer fits in `max_new_tokens`; none for plain text.

    `encoded` are the same examples; of one that was divided nothing is asked.
    """
    chosen: list[tuple[Example, list[int]]] = []
    for index, _, labels in encoded.whole():
        example, answer = examples[index], _last_answer(labels)
        if example.messages and len(answer) <= max_new_tokens and len(chosen) < wanted:
            chosen.append((example, answer))
    if not chosen:
        return ()
    prompts = encode_prompts([example for example, _ in chosen], tokenizer)
    answers = tokenizer.batch_decode([answer for _, answer in chosen], skip_special_tokens=True)
    return tuple(
        Question(ids, example.prompt[-1]["content"], answer.strip())
        for ids, (example, _), answer in zip(prompts, chosen, answers, strict=True)
    )


def answers_to(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    stops: Sequence[int],
    max_new_tokens: int,
    report: Callable[[int], None],
) -> tuple[str, ...]:
    """The answers in the order of the questions, without control tokens. `report` is told how many are done."""
    answers: dict[int, str] = {}
    lengths = [len(question.input_ids) + max_new_tokens for question in questions]
    for batch, counts, done in current().dealt(like_lengths(lengths, _BATCH_TOKENS)):
        ids = answer(
            model, [questions[index].input_ids for index in batch], stops, tokenizer.pad_token_id, max_new_tokens
        )
        if counts:
            texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
            answers |= {index: text.strip() for index, text in zip(batch, texts, strict=True)}
        report(done)
    answers = current().merged(answers)
    return tuple(answers[index] for index in range(len(questions)))


def answer(
    model: Any, prompts: Sequence[Sequence[int]], stops: Sequence[int], pad: int, max_new_tokens: int, **options: Any
) -> list[list[int]]:
    """Continuations of prompts (token ids), padded on the left, without the prompts and what follows the end.

    Greedy, unless `options` for `generate` say otherwise.
    """
    import torch

    longest = max(map(len, prompts))
    ids = torch.tensor([[*[pad] * (longest - len(prompt)), *prompt] for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    written = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stops),
        pad_token_id=pad,
        use_cache=True,
        **{"do_sample": False, **options},
    )
    ends = set(stops)
    answers = []
    for row in written[:, longest:].tolist():
        end = next((index for index, token in enumerate(row) if token in ends), len(row))
        answers.append(row[:end])
    return answers


def _last_answer(labels: Sequence[int]) -> list[int]:
    """The counted tokens at the end of a row: the assistant's last answer."""
    end = len(labels)
    while end and labels[end - 1] == IGNORED:
        end -= 1
    begin = end
    while begin and labels[begin - 1] != IGNORED:
        begin -= 1
    return list(labels[begin:end])
