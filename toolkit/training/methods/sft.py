"""Supervised fine-tuning: the loss of the assistant's tokens, trained by TRL's `SFTTrainer` on rows already tokenised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training import encoding, evaluation
from toolkit.training.answers import questions_of
from toolkit.training.arguments import training_arguments
from toolkit.training.fit import Trained, fit, step_of
from toolkit.training.layouts import layout_for
from toolkit.training.losses import mixed_precision, next_token_losses
from toolkit.training.progress import Event, Progress
from toolkit.training.stream_rows import StreamedRows
from toolkit.training.trainers import adapter_kept, bare

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from toolkit.planning.recipe_values import EvaluateSettings
    from toolkit.training.answers import Question
    from toolkit.training.encoding import Encoded
    from toolkit.training.examples import Example
    from toolkit.training.methods import Rows
    from toolkit.training.metrics import Metric
    from toolkit.training.settings import Settings

CONVERSES = True


def encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, settings: Settings) -> Encoded:
    """Rows of which the loss counts the assistant's tokens. Raises InvalidInput naming each row that cannot be used."""
    return encoding.encode(
        examples, tokenizer, settings.max_length, on_overlength=settings.on_overlength, train_on=settings.train_on
    )


def questions(
    examples: Sequence[Example], held_out: Rows, tokenizer: PreTrainedTokenizerBase, asked: EvaluateSettings
) -> tuple[Question, ...]:
    """Held-out prompts to be answered before and after; the answer that counts as right is the wanted one."""
    return questions_of(examples, held_out.spoken, tokenizer, asked.generate, asked.max_new_tokens)


def score(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    held_out: Encoded,
    questions: Sequence[Question],
    stops: Sequence[int],
    asked: EvaluateSettings,
    report: Callable[[int, int], None],
    metrics: Sequence[Metric],
) -> evaluation.Scores:
    """Loss on held-out rows, and how good the answers are."""
    return evaluation.score(model, tokenizer, held_out, questions, stops, asked.max_new_tokens, report, metrics)


def train(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Encoded | StreamedRows,
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

    arguments = training_arguments(settings, run, keep_checkpoints=keep_checkpoints)
    stream = data if isinstance(data, StreamedRows) else None
    at_hand = data.first if isinstance(data, StreamedRows) else data
    if stream is not None:
        rows = stream.dataset(passed=step_of(checkpoint) * stream.batch)
        arguments["ignore_data_skip"] = True  # the stream itself passes over what was trained on, untokenised
    else:
        rows = Dataset.from_dict({"input_ids": at_hand.input_ids, "labels": at_hand.labels})
    args = SFTConfig(
        **arguments,
        max_length=None,  # checked when the rows were tokenised
        dataset_kwargs={"skip_prepare_dataset": True},
        router_aux_loss_coef=0.0,  # the router of a mixture of experts is frozen
    )
    layout, note = layout_for(model, at_hand, settings, tokenizer.pad_token_id)
    if note is not None:
        progress(Event("train", note))
    with adapter_kept(model):
        trainer = trainer_class(settings)(
            model=model, args=args, train_dataset=rows, processing_class=tokenizer, data_collator=layout.collate
        )
    with layout.attending(model):
        trained = fit(
            trainer, settings, run, progress, tokens=at_hand.tokens if stream is None else 0, checkpoint=checkpoint
        )
    if stream is not None:
        stream.end(trained.steps)
        trained = replace(trained, tokens=stream.tokens_seen, epochs=round(stream.epochs, 4))
    return trained if note is None else replace(trained, notes=(note,))


def trainer_class(settings: Settings) -> Any:
    """TRL's trainer with our loss where TRL's has no Triton kernel to run on, or would not find the head: PEFT hides it
    behind trained rows of new tokens (trl 1.16 asks for `lm_head.bias`)."""
    from trl import SFTTrainer

    Trainer = bare(SFTTrainer)
    if settings.device_type == "cuda" and not settings.new_tokens:
        return Trainer

    class TiledTrainer(Trainer):  # type: ignore[misc,valid-type]  # trl is not followed
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            rest = {name: value for name, value in inputs.items() if name != "labels"}
            with mixed_precision(settings):
                losses = next_token_losses(model, rest, inputs["labels"])
            # Of several processes each divides by the tokens of all, and their gradients are averaged.
            total = losses.sum() * self.accelerator.num_processes
            return total / (num_items_in_batch if num_items_in_batch is not None else max(1, losses.numel()))

    return TiledTrainer
