"""Direct preference optimisation (https://arxiv.org/abs/2305.18290): of two answers the wanted one becomes likelier than
it was under the reference, by TRL's `DPOTrainer`. The reference is the model as training found it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training.arguments import training_arguments
from toolkit.training.batches import pad_right
from toolkit.training.compared import EncodedPairs, encode_pairs
from toolkit.training.encoding import IGNORED
from toolkit.training.fit import Trained, fit
from toolkit.training.log_probs import answer_log_probs, use_tiled_head
from toolkit.training.methods.sft import questions
from toolkit.training.methods.sft import score as plain_score
from toolkit.training.preference_scores import pair_scores
from toolkit.training.progress import Event, Progress
from toolkit.training.trainers import adapter_kept, bare

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from toolkit.training.evaluation import Scores
    from toolkit.training.examples import Example
    from toolkit.training.settings import Settings

__all__ = ["encode", "questions", "score", "train"]

CONVERSES = True
CURVE = {"rewards/accuracies": "accuracy", "rewards/margins": "margin", "rewards/chosen": "chosen_reward",
         "rewards/rejected": "rejected_reward"}  # fmt: skip


def encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, settings: Settings) -> EncodedPairs:
    """Both answers of each pair as rows. Raises InvalidInput naming each row that cannot be used."""
    return encode_pairs(examples, tokenizer, settings.max_length)


def score(model: Any, tokenizer: PreTrainedTokenizerBase, held_out: EncodedPairs, *trial: Any) -> Scores:
    """Likelihood and answers as for supervised fine-tuning, on wanted answers, and how pairs are preferred."""
    plain = plain_score(model, tokenizer, held_out.chosen, *trial)
    return replace(plain, others={**plain.others, **pair_scores(model, tokenizer, held_out)})


def train(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    data: EncodedPairs,
    settings: Settings,
    run: Path,
    progress: Progress,
    checkpoint: Path | None = None,
    *,
    keep_checkpoints: bool = True,
) -> Trained:
    """Train the adapter of `model` in place, as `Method.train` has it."""
    from trl import DPOConfig, DPOTrainer

    pad = tokenizer.pad_token_id
    progress(Event("train", f"reference: log-probabilities of {2 * data.rows} answers"))
    rows = pair_rows(data)
    reference = {
        "ref_chosen_logps": answer_log_probs(model, data.chosen, pad),
        "ref_rejected_logps": answer_log_probs(model, data.rejected, pad),
    }
    args = DPOConfig(
        **training_arguments(settings, run, keep_checkpoints=keep_checkpoints),
        max_length=None,  # checked when the rows were tokenised
        beta=settings.preference.beta,
        loss_type=[settings.preference.loss],
        disable_dropout=not settings.dropout,
        remove_unused_columns=False,
        router_aux_loss_coef=0.0,  # the router of a mixture of experts is frozen
    )
    with adapter_kept(model):
        trainer = bare(DPOTrainer)(
            model=model,
            args=args,
            train_dataset=rows_dataset({**rows, **reference}),
            processing_class=tokenizer,
            data_collator=PairCollator(pad),
        )
    trainer.precompute_ref_logps = True  # they are: TRL would keep them in a cache of its own, by a digest of the base
    if settings.device_type != "cuda" or settings.new_tokens:
        use_tiled_head(model)
    trained = fit(trainer, settings, run, progress, tokens=data.tokens, checkpoint=checkpoint, figures=CURVE)
    return replace(trained, forward_tokens=data.tokens)


def pair_rows(data: EncodedPairs) -> dict[str, list[Any]]:
    """The columns that `PairCollator` reads."""
    return {
        "chosen_ids": data.chosen.input_ids,
        "chosen_labels": data.chosen.labels,
        "rejected_ids": data.rejected.input_ids,
        "rejected_labels": data.rejected.labels,
    }


def rows_dataset(columns: Mapping[str, list[Any]]) -> Any:
    """Columns as the data set that a trainer takes."""
    from datasets import Dataset

    return Dataset.from_dict(dict(columns))


class PairCollator:
    """Pairs as one batch, the wanted answers first: `input_ids`, `attention_mask` and `completion_mask`, all
    (2 x pairs, longest), and the reference's log-probabilities (pairs,) where the rows have them."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        import torch

        ids = [row[f"{side}_ids"] for side in ("chosen", "rejected") for row in rows]
        labels = [row[f"{side}_labels"] for side in ("chosen", "rejected") for row in rows]
        batch = answer_batch(ids, labels, self._pad)
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows])
        return batch


def answer_batch(ids: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], pad: int) -> dict[str, Tensor]:
    """Rows padded on the right, with a mask of the tokens that count."""
    counted = [[int(label != IGNORED) for label in row] for row in labels]
    return {
        "input_ids": pad_right(ids, pad),
        "attention_mask": pad_right([[1] * len(row) for row in ids], 0),
        "completion_mask": pad_right(counted, 0),
    }
