"""Odds ratio preference optimisation (https://arxiv.org/abs/2403.07691): likelihood of the wanted answer and its odds
against the unwanted one in a single loss, without a reference, by TRL's experimental `ORPOTrainer`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training.arguments import training_arguments
from toolkit.training.fit import Trained, fit
from toolkit.training.log_probs import use_tiled_head
from toolkit.training.methods.dpo import CURVE, PairCollator, encode, pair_rows, questions, score
from toolkit.training.progress import Progress
from toolkit.training.trainers import adapter_kept, bare

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from toolkit.training.compared import EncodedPairs
    from toolkit.training.settings import Settings

__all__ = ["encode", "questions", "score", "train"]

CONVERSES = True


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
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl.experimental.orpo import ORPOConfig
    from trl.trainer.utils import add_fused_lm_head

    args = ORPOConfig(
        **training_arguments(settings, run, keep_checkpoints=keep_checkpoints),
        max_length=settings.max_length,  # not used: rows come tokenised
        beta=settings.preference.beta,
        disable_dropout=not settings.dropout,
        remove_unused_columns=False,
    )
    with adapter_kept(model):
        trainer = _trainer_class()(
            model=model,
            args=args,
            train_dataset=_ready(pair_rows(data)),
            processing_class=tokenizer,
            data_collator=PairCollator(tokenizer.pad_token_id),
        )
    add_fused_lm_head(model.get_base_model())
    if settings.device_type != "cuda" or settings.new_tokens:
        use_tiled_head(model)
    return fit(trainer, settings, run, progress, tokens=data.tokens, checkpoint=checkpoint, figures=CURVE)


def _ready(columns: dict[str, list[Any]]) -> Any:
    """A data set that stays as it is: trl 1.16.0 maps templates and a tokenizer of its own over every row."""
    from datasets import Dataset

    class Ready(Dataset):  # type: ignore[misc]  # datasets is not followed
        def map(self, *args: Any, **kwargs: Any) -> Any:
            return self

    return Ready.from_dict(columns)


def _trainer_class() -> Any:
    """TRL's trainer with its own odds ratio, on log-probabilities that come from a head computed in tiles.

    TRL forms the logits of whole rows, and its likelihood counts the prompt as well and averages over a micro-batch's
    tokens. Here it is that of the paper: the wanted answer given the prompt, every pair for the same, so that the split
    into micro-batches does not matter.
    """
    from trl.experimental.orpo import ORPOTrainer

    class Trainer(bare(ORPOTrainer)):  # type: ignore[misc]  # trl is not followed
        def get_batch_loss_metrics(self, model: Any, batch: Any, train_eval: str = "train") -> Any:
            mask = batch["completion_mask"]
            labels = batch["input_ids"].masked_fill(mask == 0, -100)
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            log_probs = model(**inputs, labels=labels, fused_lm_head=True, use_cache=False).log_probs
            means = log_probs.sum(dim=1) / mask[:, 1:].sum(dim=1)
            chosen, rejected = means.chunk(2)
            ratios, chosen_rewards, rejected_rewards, _, log_odds = self.odds_ratio_loss(chosen, rejected)
            loss = -chosen.mean() - ratios.mean()
            figures = {
                "rewards/chosen": chosen_rewards.mean(),
                "rewards/rejected": rejected_rewards.mean(),
                "rewards/accuracies": (chosen_rewards > rejected_rewards).float().mean(),
                "rewards/margins": (chosen_rewards - rejected_rewards).mean(),
                "log_odds_chosen": log_odds.detach(),
            }
            return loss, {name: value.item() for name, value in figures.items()}

    return Trainer
