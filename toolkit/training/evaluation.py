"""How good the model is on rows it never saw: loss on the assistant's tokens, and answers compared word for word."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.training.batches import PaddedCollator
from toolkit.training.encoding import IGNORED, Encoded, encode_prompts
from toolkit.training.examples import Example
from toolkit.training.losses import next_token_losses

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH_TOKENS = 4096  # padded tokens in one forward pass without gradients; a single row may be longer
_ANSWER_BATCH_TOKENS = 8192  # prompt and answer together: bounds the key-value cache


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out prompt as token ids, its words for people, and the answer that counts as right."""

    input_ids: list[int]
    prompt: str
    expected: str


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean loss (nats a token) over the assistant's held-out tokens, its exponential, and the answers given."""

    loss: float
    answers: tuple[str, ...]
    exact_match: float | None

    @property
    def perplexity(self) -> float:
        """exp(loss), the largest float where that overflows."""
        return math.exp(min(self.loss, 700.0))

    def to_json(self) -> dict[str, float]:
        """What the run record keeps; exact match only where questions were asked."""
        scores = {"loss": self.loss, "perplexity": self.perplexity}
        return scores if self.exact_match is None else {**scores, "exact_match": self.exact_match}


def questions_of(
    examples: Sequence[Example], encoded: Encoded, tokenizer: PreTrainedTokenizerBase, wanted: int, max_new_tokens: int
) -> tuple[Question, ...]:
    """Up to `wanted` held-out prompts whose true answer fits in `max_new_tokens`; none for plain text.

    `encoded` are the same examples in the same order.
    """
    chosen: list[tuple[Example, list[int]]] = []
    for example, labels in zip(examples, encoded.labels, strict=True):
        answer = _last_answer(labels)
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


def score(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    encoded: Encoded,
    questions: Sequence[Question],
    stops: Sequence[int],
    max_new_tokens: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Scores:
    """Loss on `encoded` and greedy answers to `questions` by the model as it stands. Leaves it in the mode it was in."""
    import torch

    was_training = model.training
    model.eval()
    total = encoded.rows + len(questions)
    with torch.no_grad():  # not `inference_mode`: FSDP2 keeps what it gathers here for training
        loss = _mean_loss(model, encoded, tokenizer.pad_token_id, lambda done: report(done, total))
        answers = _answers(
            model, tokenizer, questions, stops, max_new_tokens, lambda done: report(encoded.rows + done, total)
        )
    model.train(was_training)
    right = sum(given == question.expected for given, question in zip(answers, questions, strict=True))
    return Scores(loss, answers, right / len(questions) if questions else None)


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


def _mean_loss(model: Any, encoded: Encoded, pad: int, report: Callable[[int], None]) -> float:
    import torch

    collate = PaddedCollator(pad)
    total = torch.zeros((), dtype=torch.float64)
    done = 0
    for batch in _batches([len(row) for row in encoded.input_ids], _BATCH_TOKENS):
        rows = [{"input_ids": encoded.input_ids[index], "labels": encoded.labels[index]} for index in batch]
        inputs = {name: values.to(model.device) for name, values in collate(rows).items()}
        labels = inputs.pop("labels")
        total += next_token_losses(model, inputs, labels).double().sum().cpu()
        done += len(batch)
        report(done)
    return float(total / encoded.loss_tokens)


def _answers(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    stops: Sequence[int],
    max_new_tokens: int,
    report: Callable[[int], None],
) -> tuple[str, ...]:
    answers = [""] * len(questions)
    done = 0
    for batch in _batches([len(question.input_ids) + max_new_tokens for question in questions], _ANSWER_BATCH_TOKENS):
        ids = answer(
            model, [questions[index].input_ids for index in batch], stops, tokenizer.pad_token_id, max_new_tokens
        )
        for index, text in zip(batch, tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
            answers[index] = text.strip()
        done += len(batch)
        report(done)
    return tuple(answers)


def _batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Indices in batches of like length, each of at most `tokens` once padded, and of one row where that is longer."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _last_answer(labels: Sequence[int]) -> list[int]:
    """The counted tokens at the end of a row: the assistant's last answer."""
    end = len(labels)
    while end and labels[end - 1] == IGNORED:
        end -= 1
    begin = end
    while begin and labels[begin - 1] != IGNORED:
        begin -= 1
    return list(labels[begin:end])
