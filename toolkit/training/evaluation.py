"""How good the model is on rows it never saw: loss on the assistant's tokens, and answers scored as the recipe says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.training.answers import Question, answers_to
from toolkit.training.batches import PaddedCollator, like_lengths
from toolkit.training.distributed.team import current
from toolkit.training.encoding import Encoded
from toolkit.training.losses import next_token_losses
from toolkit.training.metrics import Metric, exact_match
from toolkit.training.row_attention import attending_to_padded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH_TOKENS = 4096  # padded tokens in one forward pass without gradients; a single row may be longer
EXACT_MATCH = (Metric("exact_match", exact_match),)


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean loss (nats a token) over the assistant's held-out tokens, the answers given, and what else was scored."""

    loss: float | None  # None where no row is held out
    answers: tuple[str, ...]
    others: Mapping[str, float] = field(default_factory=dict)

    @property
    def perplexity(self) -> float | None:
        """exp(loss), the largest float where that overflows."""
        return None if self.loss is None else math.exp(min(self.loss, 700.0))

    def to_json(self) -> dict[str, float]:
        """Every score by its name, as the run record keeps them."""
        if self.loss is None or self.perplexity is None:
            return dict(self.others)
        return {"loss": self.loss, "perplexity": self.perplexity, **self.others}


def score(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    encoded: Encoded,
    questions: Sequence[Question],
    stops: Sequence[int],
    max_new_tokens: int,
    report: Callable[[int, int], None] = lambda done, total: None,
    metrics: Sequence[Metric] = EXACT_MATCH,
) -> Scores:
    """Loss on `encoded` and greedy answers to `questions` by the model as it stands. Leaves it in the mode it was in.

    Nothing here draws random numbers, so that evaluating does not change what is trained afterwards.
    """
    import torch

    was_training = model.training
    model.eval()
    total = encoded.rows + len(questions)
    with torch.no_grad():  # not `inference_mode`: FSDP2 keeps what it gathers here for training
        loss = mean_loss(model, encoded, tokenizer.pad_token_id, lambda done: report(done, total))
        answers = answers_to(
            model, tokenizer, questions, stops, max_new_tokens, lambda done: report(encoded.rows + done, total)
        )
    model.train(was_training)
    return Scores(loss, answers, _rated(questions, answers, metrics))


def _rated(questions: Sequence[Question], answers: Sequence[str], metrics: Sequence[Metric]) -> dict[str, float]:
    if not questions:
        return {}
    expected, prompts = [item.expected for item in questions], [item.prompt for item in questions]
    return {metric.score: metric.mean(answers, expected, prompts) for metric in metrics}


def held_out_loss(model: Any, encoded: Encoded, pad: int) -> float:
    """Mean loss on `encoded` in the midst of training; leaves the model in the mode it was in."""
    import torch

    was_training = model.training
    model.eval()
    with torch.no_grad():
        loss = mean_loss(model, encoded, pad, lambda done: None)
    model.train(was_training)
    return loss


def mean_loss(model: Any, encoded: Encoded, pad: int, report: Callable[[int], None]) -> float:
    """Nats a counted token of `encoded`. The caller has put the model into evaluation mode, without gradients."""
    import torch

    collate, team = PaddedCollator(pad), current()
    total = torch.zeros((), dtype=torch.float64)
    for batch, counts, done in team.dealt(like_lengths([len(row) for row in encoded.input_ids], _BATCH_TOKENS)):
        rows = [{"input_ids": encoded.input_ids[index], "labels": encoded.labels[index]} for index in batch]
        inputs = {name: values.to(model.device) for name, values in collate(rows).items()}
        labels = inputs.pop("labels")
        with attending_to_padded(model):
            losses = next_token_losses(model, inputs, labels).double().sum().cpu()
        total += losses if counts else 0
        report(done)
    return float(team.added(total) / encoded.loss_tokens)
