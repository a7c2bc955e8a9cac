"""Optimisers that a trainer does not make by itself."""

from __future__ import annotations

from typing import Any

from toolkit.training.settings import Settings


def lora_plus(trainer: Any, settings: Settings) -> Any:
    """The trainer's own optimiser with LoRA+ learning rates (https://arxiv.org/abs/2402.12354): `lora_plus_ratio` times
    as large for B (and DoRA's magnitudes) as for A."""
    from peft.optimizers import create_loraplus_optimizer

    kind, options = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    options.pop("lr", None)
    return create_loraplus_optimizer(
        trainer.model,
        kind,
        lr=settings.learning_rate,
        loraplus_lr_ratio=settings.lora_plus_ratio,
        loraplus_weight_decay=settings.weight_decay,
        **options,
    )
