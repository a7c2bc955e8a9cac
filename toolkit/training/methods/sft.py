"""Supervised fine-tuning: the loss of the assistant's tokens, trained by TRL's `SFTTrainer` on rows already tokenised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training import encoding
from toolkit.training.arguments import training_arguments
from toolkit.training.fit import Trained, fit
from toolkit.training.layouts import layout_for
from toolkit.training.losses import next_token_losses
from toolkit.training.progress import Event, Progress

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from toolkit.training.encoding import Encoded
    from toolkit.training.examples import Example
    from toolkit.training.settings import Settings


def encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, settings: Settings) -> Encoded:
    """Rows of which the loss counts the assistant's tokens. Raises InvalidInput naming each row that cannot be used."""
    return encoding.encode(examples, tokenizer, settings.max_length)


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
    """Train the adapter of `model` in place, as `Method.train` has it."""
    from datasets import Dataset
    from trl import SFTConfig

    rows = Dataset.from_dict({"input_ids": data.input_ids, "labels": data.labels})
    args = SFTConfig(
        **training_arguments(settings, run, keep_checkpoints=keep_checkpoints),
        max_length=None,  # checked when the rows were tokenised
        dataset_kwargs={"skip_prepare_dataset": True},
        router_aux_loss_coef=0.0,  # the router of a mixture of experts is frozen
    )
    layout, note = layout_for(model, data, settings, tokenizer.pad_token_id)
    if note is not None:
        progress(Event("train", note))
    trainer = _trainer_class(settings.device_type)(
        model=model, args=args, train_dataset=rows, processing_class=tokenizer, data_collator=layout.collate
    )
    with layout.attending(model):
        trained = fit(trainer, settings, run, progress, tokens=data.tokens, checkpoint=checkpoint)
    return trained if note is None else replace(trained, notes=(note,))


def _trainer_class(device_type: str) -> Any:
    """TRL's trainer without its model card, and with our loss where TRL's has no Triton kernel to run on."""
    from trl import SFTTrainer

    class Trainer(SFTTrainer):  # type: ignore[misc]  # trl is not followed
        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """TRL would write a card of its own into each checkpoint, and ask the hub for its parts."""

    if device_type == "cuda":
        return Trainer

    class TiledTrainer(Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            given = {name: value for name, value in inputs.items() if name != "labels"}
            # Our loss calls the model past the forward pass that accelerate has wrapped, mixed precision with it.
            with self.accelerator.autocast():
                losses = next_token_losses(model, given, inputs["labels"])
            return losses.sum() / (num_items_in_batch if num_items_in_batch is not None else max(1, losses.numel()))

    return TiledTrainer
