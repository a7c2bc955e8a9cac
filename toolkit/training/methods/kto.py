"""Kahneman-Tversky optimisation (https://arxiv.org/abs/2402.01306): answers judged one by one become likelier or less
likely than under the reference, measured from how far the model has moved at all, by TRL's `KTOTrainer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from toolkit.training.arguments import training_arguments
from toolkit.training.compared import EncodedJudged, answer_begins, encode_judged
from toolkit.training.encoding import IGNORED, Encoded
from toolkit.training.fit import Trained, fit
from toolkit.training.log_probs import answer_log_probs, use_tiled_head
from toolkit.training.methods.dpo import answer_batch, rows_dataset
from toolkit.training.methods.sft import questions as questions_of
from toolkit.training.methods.sft import score as plain_score
from toolkit.training.preference_scores import judged_scores
from toolkit.training.progress import Event, Progress
from toolkit.training.trainers import adapter_kept, bare

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from toolkit.training.evaluation import Scores
    from toolkit.training.examples import Example
    from toolkit.training.settings import Settings

CONVERSES = True
CURVE = {"rewards/margins": "margin", "rewards/chosen": "chosen_reward", "rewards/rejected": "rejected_reward",
         "kl": "kl"}  # fmt: skip


def encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, settings: Settings) -> EncodedJudged:
    """Judged answers as rows. Raises InvalidInput naming each row that cannot be used."""
    return encode_judged(examples, tokenizer, settings.max_length)


def questions(
    examples: Sequence[Example], held_out: EncodedJudged, tokenizer: PreTrainedTokenizerBase, *asked: Any
) -> Any:
    """Held-out prompts whose answer is wanted."""
    wanted = [example for example, good in zip(examples, held_out.wanted, strict=True) if good]
    return questions_of(wanted, held_out, tokenizer, *asked)


def score(model: Any, tokenizer: PreTrainedTokenizerBase, held_out: EncodedJudged, *trial: Any) -> Scores:
    """Likelihood of wanted answers and answers given, as for supervised fine-tuning, and wanted against unwanted."""
    plain = plain_score(model, tokenizer, held_out.spoken, *trial)
    return replace(plain, others={**plain.others, **judged_scores(model, tokenizer, held_out)})


def train(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    data: EncodedJudged,
    settings: Settings,
    run: Path,
    progress: Progress,
    checkpoint: Path | None = None,
    *,
    keep_checkpoints: bool = True,
) -> Trained:
    """Train the adapter of `model` in place, as `Method.train` has it."""
    from trl import KTOConfig, KTOTrainer

    pad = tokenizer.pad_token_id
    order = list(range(data.rows))
    Random(settings.seed).shuffle(order)  # TRL's trainer takes rows in order, since neighbours are each other's pairs
    answers = Encoded(
        [data.answers.input_ids[index] for index in order], [data.answers.labels[index] for index in order]
    )
    crossed = mismatched(answers, settings.micro_batch_size, settings.max_length)
    progress(Event("train", f"reference: log-probabilities of {2 * data.rows} answers"))
    columns: dict[str, list[Any]] = {
        "ids": answers.input_ids,
        "labels": answers.labels,
        "crossed": crossed.input_ids,
        "crossed_labels": crossed.labels,
        "label": [data.wanted[index] for index in order],
        "ref_logps": answer_log_probs(model, answers, pad),
        "ref_KL_logps": answer_log_probs(model, crossed, pad),
    }
    args = KTOConfig(
        **training_arguments(settings, run, keep_checkpoints=keep_checkpoints),
        max_length=None,  # checked when the rows were tokenised
        beta=settings.preference.beta,
        loss_type=settings.preference.loss,
        desirable_weight=settings.preference.desirable_weight,
        undesirable_weight=settings.preference.undesirable_weight,
        disable_dropout=not settings.dropout,
        remove_unused_columns=False,
        router_aux_loss_coef=0.0,  # the router of a mixture of experts is frozen
    )
    with adapter_kept(model):
        trainer = bare(KTOTrainer)(
            model=model,
            args=args,
            train_dataset=rows_dataset(columns),
            processing_class=tokenizer,
            data_collator=JudgedCollator(pad),
        )
    trainer.precompute_ref_logps = True  # as in `dpo`
    if settings.device_type != "cuda" or settings.new_tokens:
        use_tiled_head(model)
    trained = fit(trainer, settings, run, progress, tokens=data.tokens, checkpoint=checkpoint, figures=CURVE)
    once = answers.tokens + crossed.tokens
    return replace(trained, forward_tokens=round(once + crossed.tokens * trained.epochs))


def mismatched(answers: Encoded, micro_batch: int, max_length: int) -> Encoded:
    """Each prompt of a micro-batch with the answer of the row before it: how far the model has moved is estimated there.

    Such a row may be longer than any of the data; then its answer is cut to `max_length`. No row that is learnt from is.
    """
    ids, labels = [], []
    for first in range(0, answers.rows, micro_batch):
        batch = range(first, min(first + micro_batch, answers.rows))
        for place, index in enumerate(batch):
            prompt = answers.input_ids[index][: answer_begins(answers.labels[index])]
            other = batch[place - 1]
            begins = answer_begins(answers.labels[other])
            answer = slice(begins, begins + max(1, max_length - len(prompt)))
            ids.append(prompt + answers.input_ids[other][answer])
            labels.append([IGNORED] * len(prompt) + answers.labels[other][answer])
    return Encoded(ids, labels)


class JudgedCollator:
    """Judged answers as TRL's trainer takes them: the rows, the mismatched rows, labels and reference's numbers."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        import torch

        batch: dict[str, Tensor] = {}
        for prefix, ids, labels in (("", "ids", "labels"), ("KL_", "crossed", "crossed_labels")):
            part = answer_batch([row[ids] for row in rows], [row[labels] for row in rows], self._pad)
            batch |= {f"{prefix}{name}": value for name, value in part.items()}
        for name in ("label", "ref_logps", "ref_KL_logps"):
            batch[name] = torch.tensor([row[name] for row in rows])
        return batch
