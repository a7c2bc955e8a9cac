"""The keys of a recipe: types, bounds, defaults, what each means, and what other tools call it."""

from __future__ import annotations

from toolkit.files.schema import Flag, Key, Kind, ListOf, Number, Record, Text
from toolkit.licensing.use import use_shape
from toolkit.licensing.vocabulary import vocabulary
from toolkit.planning.foreign_names import renamed
from toolkit.planning.method_settings import method_keys
from toolkit.planning.recipe_data import RENAMED_DATA, data_shape
from toolkit.planning.recipe_values import (
    ADAPTERS,
    ATTENTIONS,
    DTYPES,
    METHODS,
    SCHEDULERS,
    SHARDINGS,
    AdapterSettings,
    TrainSettings,
)
from toolkit.planning.recipe_watching import Track, evaluate_shape, save_shape


def recipe_shape() -> Record:
    """What a recipe may say; the JSON Schema for editors comes from it."""
    share = Number(minimum=0, maximum=1)
    count = Number(minimum=1, whole=True)
    adapter = Record(
        {
            "type": Key(
                Text(ADAPTERS),
                "What lies beneath: lora the base as it is, lora-8bit int8, qlora NF4; auto: LoRA when it fits, else QLoRA",
                default="auto",
            ),
            "rank": Key(Number(minimum=1, maximum=1024, whole=True), "LoRA rank", default=16),
            "alpha": Key(count, "LoRA alpha; twice the rank when left out, with rslora 8"),
            "dropout": Key(Number(minimum=0, maximum=0.9), "LoRA dropout", default=0.0),
            "target_modules": Key(
                ListOf(Text()),
                "Modules that get an adapter, by name; all linear matrices when left out. "
                "Of a mixture of experts also attention, shared_experts, experts, router",
            ),
            "start": Key(Text(), "Folder of an earlier run on this base: its adapter is trained on"),
            "dora": Key(Flag(), "Train magnitudes beside directions (DoRA)", default=False),
            "rslora": Key(Flag(), "Scale updates by alpha/sqrt(rank) instead of alpha/rank", default=False),
            "init": Key(
                Text(),
                "How the factors begin: default, gaussian, pissa, pissa_niter_N, olora, eva (from the data), loftq (qlora)",
                default="default",
            ),
            "lora_plus_ratio": Key(Number(minimum=1, maximum=1000), "LoRA+: learning rate of B over that of A"),
            "new_tokens": Key(ListOf(Text()), "Tokens to add, whose rows of embedding and head are trained"),
        },
        AdapterSettings,
        renamed=renamed("adapter"),
    )
    rate = Number(above=0, maximum=1)
    train = Record(
        {
            "epochs": Key(Number(above=0, maximum=10_000), "Passes over the data", default=1.0),
            "max_steps": Key(count, "Stop after this many optimiser steps"),
            "batch_size": Key(
                Number(minimum=1, maximum=1_000_000, whole=True),
                "Examples per optimiser step over all devices",
                default=16,
            ),
            "tokens_per_step": Key(
                count, "Instead of batch_size: about so many tokens per optimiser step, padding left out"
            ),
            "micro_batch_size": Key(count, "Examples per forward pass; the largest that fits when left out"),
            "learning_rate": Key(rate, "Peak learning rate"),
            "max_length": Key(Number(minimum=8, whole=True), "Longest row, in tokens", default=2048),
            "seed": Key(Number(minimum=0, maximum=2**32 - 1, whole=True), "One seed, one run", default=42),
            "warmup": Key(share, "Share of the steps that warm up", default=0.03),
            "scheduler": Key(Text(SCHEDULERS), "Learning rate schedule", default="cosine"),
            "weight_decay": Key(share, default=0.0),
            "dtype": Key(Text(DTYPES), "Number format of the base", default="auto"),
            "gradient_checkpointing": Key(Flag(), "Recompute activations; when it is needed to fit, if left out"),
            "packing": Key(Flag(), "Put several rows into one sequence; where it saves time, if left out"),
            "optimizer": Key(Text(), "Optimiser as transformers names it"),
            "attention": Key(Text(ATTENTIONS), "Attention as transformers names it", default="auto"),
            "sharding": Key(
                Text(SHARDINGS), "Several GPUs: a copy on each (ddp) or parameters sharded (fsdp2)", default="auto"
            ),
            "save": Key(save_shape(), "When checkpoints are written; one always right after the first step"),
        },
        TrainSettings,
        renamed=renamed("train"),
    )
    method: Kind = Text(METHODS)
    keys = {
        "base": Key(Text(), "Hub id[@revision], folder, or embedded:FAMILY", required=True),
        "method": Key(method, "Training method", default="sft"),
        "adapter": Key(adapter),
        "data": Key(data_shape(), required=True),
        "use": Key(use_shape(vocabulary()), "The intended use"),
        "train": Key(train),
        **method_keys(),
        "evaluate": Key(evaluate_shape()),
        "track": Key(Track(), "Where the curve goes besides metrics.jsonl: trackio, tensorboard, mlflow, wandb"),
        "output": Key(Text(), "Folder of the run", required=True),
        "trust_remote_code": Key(Flag(), "Run code that comes with the base; the card will say so", default=False),
    }
    sections = {"adapter": adapter, "train": train, "evaluate": evaluate_shape()}
    inner = {key: f"{name}.{key}" for name, section in sections.items() for key in section.keys}
    of_data = {name: new if " " in new else f"data.{new}" for name, new in RENAMED_DATA.items()}
    return Record(keys, renamed={**of_data, **renamed(), **inner})
