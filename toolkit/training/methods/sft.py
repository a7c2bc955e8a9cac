"""Supervised fine-tuning: the loss of the assistant's tokens, trained by TRL's `SFTTrainer` on rows already tokenised."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training.arguments import training_arguments
from toolkit.training.batches import PackedCollator, PaddedCollator
from toolkit.training.fit import Trained, fit
from toolkit.training.losses import mixed_precision, next_token_losses
from toolkit.training.progress import Progress

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from toolkit.training.encoding import Encoded
    from toolkit.training.settings import Settings


def train(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Encoded,
    settings: Settings,
    run: Path,
    progress: Progress,
    checkpoint: Path | None = None,
    *,
    keep_checkpoints: bool = True,
) -> Trained:
    """Train the adapter of `model` in place; checkpoints go to RUN/checkpoints, the loss curve to RUN/metrics.jsonl.

    `checkpoint` is one of this run's to go on from; without `keep_checkpoints` none is written. Raises Stopped on Ctrl-C, TkError when the memory does not suffice
    or the loss is no longer a number.
    """
    from datasets import Dataset
    from trl import SFTConfig

    rows = Dataset.from_dict({"input_ids": data.input_ids, "labels": data.labels})
    args = SFTConfig(
        **training_arguments(settings, run, keep_checkpoints=keep_checkpoints),
        max_length=None,  # checked when the rows were tokenised
        dataset_kwargs={"skip_prepare_dataset": True},
        router_aux_loss_coef=0.0,  # the router of a mixture of experts is frozen
    )
    collator = (PackedCollator if settings.packing else PaddedCollator)(tokenizer.pad_token_id)
    trainer = _trainer_class(settings)(
        model=model, args=args, train_dataset=rows, processing_class=tokenizer, data_collator=collator
    )
    return fit(trainer, settings, run, progress, tokens=data.tokens, checkpoint=checkpoint)


def _trainer_class(settings: Settings) -> Any:
    """TRL's trainer without its model card, and with our loss where TRL's has no Triton kernel to run on, or would not
    find the head: PEFT hides it behind trained rows of new tokens (trl 1.16 asks for `lm_head.bias`)."""
    from trl import SFTTrainer

    class Trainer(SFTTrainer):  # type: ignore[misc]  # trl is not followed
        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """TRL would write a card of its own into each checkpoint, and ask the hub for its parts."""

    if settings.device_type == "cuda" and not settings.new_tokens:
        return Trainer

    class TiledTrainer(Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            rest = {name: value for name, value in inputs.items() if name != "labels"}
            with mixed_precision(settings):
                losses = next_token_losses(model, rest, inputs["labels"])
            return losses.sum() / (num_items_in_batch if num_items_in_batch is not None else max(1, losses.numel()))

    return TiledTrainer
