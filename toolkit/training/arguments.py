"""What every TRL trainer is told alike: the settings of a run in the names of transformers' `TrainingArguments`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.training.saving import saving_arguments
from toolkit.training.settings import Settings


def training_arguments(settings: Settings, run: Path, *, keep_checkpoints: bool = True) -> dict[str, Any]:
    """Keyword arguments of TRL's configurations. Checkpoints go to RUN/checkpoints, none without `keep_checkpoints`."""
    return {
        "output_dir": str(run / "checkpoints"),
        "per_device_train_batch_size": settings.micro_batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.scheduler,
        "warmup_steps": min(settings.warmup, 0.99),  # below 1 it is a share of all steps
        "weight_decay": settings.weight_decay,
        "optim": settings.optimizer,
        "gradient_checkpointing": settings.checkpointing,
        "bf16": settings.dtype == "bfloat16",
        "fp16": settings.dtype == "float16",
        "use_cpu": settings.device == "cpu",
        "dataloader_pin_memory": settings.device_type == "cuda",
        "seed": settings.seed,
        "data_seed": settings.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        **saving_arguments(settings, keep_checkpoints),
        "report_to": "none",
        "disable_tqdm": True,
    }
