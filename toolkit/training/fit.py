"""Running a TRL trainer from first step to last: watched, stopped on request, gone on with from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from toolkit.errors import TkError
from toolkit.training.adapters import to_float32
from toolkit.training.callbacks import TokenCount, watch
from toolkit.training.curve import Curve, keep_until
from toolkit.training.distributed.team import current
from toolkit.training.distributed.trainer import take_part
from toolkit.training.optimizers import lora_plus
from toolkit.training.progress import Event, Progress
from toolkit.training.saving import Saving, every_seconds, guard
from toolkit.training.settings import Settings
from toolkit.training.stopping import Stopped


@dataclass(frozen=True, slots=True)
class Trained:
    """What training did. `seconds` is this session's; `tokens` and `steps` count the whole run, padding left out;
    `notes` say in words what a reader of the record should know.

    `forward_tokens` went through forward passes without gradients: those of a reference, and of sampling. `loss_tokens`
    is there where only training could tell.
    """

    steps: int
    epochs: float
    tokens: int
    mean_loss: float
    first_loss: float
    last_loss: float
    seconds: float
    resumed_from: int | None
    forward_tokens: int = 0
    loss_tokens: int | None = None
    notes: tuple[str, ...] = ()


def fit(
    trainer: Any,
    settings: Settings,
    run: Path,
    progress: Progress,
    *,
    tokens: int,
    checkpoint: Path | None = None,
    figures: Mapping[str, str] = MappingProxyType({}),
) -> Trained:
    """Run `trainer`; the loss curve goes to RUN/metrics.jsonl. `tokens` are those of one pass over the data.

    `figures` are further ones that the curve keeps: TRL's name of each, and ours.
    `checkpoint` is one of this run's to go on from. Raises Stopped on Ctrl-C, TkError when the memory does not suffice
    or the loss is no longer a number.
    """
    import torch
    from transformers import PrinterCallback

    team = current()
    stop = team.stop_request()
    stop.tell = lambda: progress(Event("stopping", "finishing this step, then keeping a checkpoint"))
    curve = Curve(team.own(run) / "metrics.jsonl")
    saving = Saving(every_seconds(settings), trainer.args.save_strategy.value != "no", team)
    trainer.data_collator = counted = TokenCount(trainer.data_collator)
    trainer.remove_callback(PrinterCallback)
    take_part(trainer, team, stop)
    trainer.add_callback(watch(curve, progress, stop, saving, counted, figures))
    guard(trainer, run)
    to_float32(trainer.model)  # TRL has just cast the adapter of a 4-bit base to bf16
    if settings.lora_plus_ratio is not None:
        trainer.optimizer = lora_plus(trainer, settings)
    begun = time.monotonic()
    step = step_of(checkpoint)
    keep_until(curve.path, step)
    try:
        with stop:
            result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise TkError("the device ran out of memory while training", hint=_smaller(settings)) from error
    state = trainer.state
    if stop.asked and state.global_step < state.max_steps:
        text = f"stopped after step {state.global_step} of {state.max_steps}; a checkpoint is kept"
        raise Stopped(text, where=str(run), hint="run the same command again to go on from there")
    losses, counts = curve.losses(), curve.tokens()
    return Trained(
        steps=state.global_step,
        epochs=round(float(state.epoch or 0.0), 4),
        tokens=counts if team.size == 1 and counts is not None else round(tokens * float(state.epoch or 0.0)),
        mean_loss=sum(losses) / len(losses) if losses else float(result.training_loss),
        first_loss=losses[0],
        last_loss=losses[-1],
        seconds=time.monotonic() - begun,
        resumed_from=step or None,
    )


def step_of(checkpoint: Path | None) -> int:
    """The optimiser steps that had been made when a checkpoint was written; 0 without one."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def _smaller(settings: Settings) -> str:
    half = max(1, settings.micro_batch_size // 2)
    if half < settings.micro_batch_size:
        return f"set train.micro_batch_size: {half}"
    return "set train.gradient_checkpointing: true"
