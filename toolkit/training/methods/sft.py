"""Supervised fine-tuning: the loss of the assistant's tokens, trained by TRL's `SFTTrainer` on rows already tokenised."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.training.adapters import to_float32
from toolkit.training.batches import PackedCollator, PaddedCollator
from toolkit.training.callbacks import Curve, keep_until, watch
from toolkit.training.losses import next_token_losses
from toolkit.training.progress import Progress
from toolkit.training.stopping import Stopped, StopRequest

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from toolkit.training.encoding import Encoded
    from toolkit.training.settings import Settings


@dataclass(frozen=True, slots=True)
class Trained:
    """What training did. `seconds` is this session's; `tokens` and `steps` count the whole run, padding left out."""

    steps: int
    epochs: float
    tokens: int
    mean_loss: float
    first_loss: float
    last_loss: float
    seconds: float
    resumed_from: int | None


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
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig

    rows = Dataset.from_dict({"input_ids": data.input_ids, "labels": data.labels})
    args = SFTConfig(
        output_dir=str(run / "checkpoints"),
        per_device_train_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=settings.accumulation,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=min(settings.warmup, 0.99),  # below 1 it is a share of all steps
        weight_decay=settings.weight_decay,
        optim=settings.optimizer,
        gradient_checkpointing=settings.checkpointing,
        bf16=settings.dtype == "bfloat16",
        fp16=settings.dtype == "float16",
        use_cpu=settings.device == "cpu",
        dataloader_pin_memory=settings.device_type == "cuda",
        seed=settings.seed,
        data_seed=settings.seed,
        max_length=None,  # checked when the rows were tokenised
        dataset_kwargs={"skip_prepare_dataset": True},
        router_aux_loss_coef=0.0,  # the router of a mixture of experts is frozen
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps" if keep_checkpoints else "no",
        save_steps=0.25,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
    )
    stop = StopRequest()
    curve = Curve(run / "metrics.jsonl")
    collator = (PackedCollator if settings.packing else PaddedCollator)(tokenizer.pad_token_id)
    trainer = _trainer_class(settings.device_type)(
        model=model, args=args, train_dataset=rows, processing_class=tokenizer, data_collator=collator
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watch(curve, progress, stop))
    to_float32(model)  # TRL has just cast the adapter of a 4-bit base to bf16
    begun = time.monotonic()
    step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    keep_until(run / "metrics.jsonl", step)
    try:
        with stop:
            result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        half = max(1, settings.micro_batch_size // 2)
        hint = (
            f"set train.micro_batch_size: {half}"
            if half < settings.micro_batch_size
            else "set train.gradient_checkpointing: true"
        )
        raise TkError("the device ran out of memory while training", hint=hint) from error
    state = trainer.state
    if stop.asked and state.global_step < state.max_steps:
        text = f"stopped after step {state.global_step} of {state.max_steps}; a checkpoint is kept"
        raise Stopped(text, where=str(run), hint="run the same command again to go on from there")
    losses = curve.losses()
    return Trained(
        steps=state.global_step,
        epochs=round(float(state.epoch or 0.0), 4),
        tokens=round(data.tokens * float(state.epoch or 0.0)),
        mean_loss=sum(losses) / len(losses) if losses else float(result.training_loss),
        first_loss=losses[0],
        last_loss=losses[-1],
        seconds=time.monotonic() - begun,
        resumed_from=step or None,
    )


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
            losses = next_token_losses(
                model, {name: value for name, value in inputs.items() if name != "labels"}, inputs["labels"]
            )
            return losses.sum() / (num_items_in_batch if num_items_in_batch is not None else max(1, losses.numel()))

    return TiledTrainer
