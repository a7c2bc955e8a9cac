"""The keys of a recipe: types, bounds, defaults, what each means, and what other tools call it."""

from __future__ import annotations

from toolkit.files.schema import AnyOf, Flag, Key, Kind, ListOf, Number, Record, Text
from toolkit.files.strict_yaml import Path_
from toolkit.licensing.use import use_shape
from toolkit.licensing.vocabulary import vocabulary
from toolkit.planning.method_settings import method_keys
from toolkit.planning.recipe_values import (
    ADAPTERS,
    ATTENTIONS,
    DTYPES,
    FORMATS,
    METHODS,
    SCHEDULERS,
    SHARDINGS,
    AdapterSettings,
    DataSettings,
    EvaluateSettings,
    TrainSettings,
)


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
        renamed={"r": "rank", "lora_r": "rank", "lora_rank": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout"},
    )
    data = Record(
        {
            "train": Key(
                Text(), "JSONL, JSON, CSV or Parquet file, a folder of them, or a hub data set", required=True
            ),
            "eval": Key(Text(), "Held-out rows from a file of their own"),
            "license": Key(Text(), "Licence of the data, SPDX where it has one"),
            "id": Key(Text(), "Name of the data set on the card"),
            "format": Key(Text(FORMATS), "How rows look; detected when left out", default="auto"),
        },
        DataSettings,
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
        },
        TrainSettings,
        renamed=_RENAMED_TRAIN,
    )
    evaluate = Record(
        {
            "fraction": Key(Number(minimum=0, maximum=0.9), "Share of the rows held out", default=0.1),
            "generate": Key(Number(minimum=0, whole=True), "Held-out prompts answered before and after", default=64),
            "max_new_tokens": Key(count, "Longest answer, in tokens", default=64),
        },
        EvaluateSettings,
    )
    method: Kind = Text(METHODS)
    keys = {
        "base": Key(Text(), "Hub id[@revision], folder, or embedded:FAMILY", required=True),
        "method": Key(method, "Training method", default="sft"),
        "adapter": Key(adapter),
        "data": Key(AnyData(data), required=True),
        "use": Key(use_shape(vocabulary()), "The intended use"),
        "train": Key(train),
        **method_keys(),
        "evaluate": Key(evaluate),
        "output": Key(Text(), "Folder of the run", required=True),
        "trust_remote_code": Key(Flag(), "Run code that comes with the base; the card will say so", default=False),
    }
    renamed = {
        "model": "base",
        "model_name_or_path": "base",
        "base_model": "base",
        "dataset": "data",
        "output_dir": "output",
    }
    return Record(keys, renamed={**renamed, **{name: f"train.{new}" for name, new in _RENAMED_TRAIN.items()}})


_RENAMED_TRAIN = {
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "per_device_train_batch_size": "micro_batch_size",
    "micro_batch": "micro_batch_size",
    "gradient_accumulation_steps": "batch_size",
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "sequence_len": "max_length",
    "cutoff_len": "max_length",
    "warmup_ratio": "warmup",
    "warmup_steps": "warmup",
    "lr_scheduler_type": "scheduler",
    "lr": "learning_rate",
    "torch_dtype": "dtype",
    "optim": "optimizer",
    "attn_implementation": "attention",
}  # names of transformers, TRL, axolotl and LLaMA-Factory


class AnyData:
    """`data:` as a mapping, or only the file: `data: examples/support.jsonl`."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def read(self, value: object, path: Path_, report: object) -> object:
        shaped = {"train": value} if isinstance(value, str) else value
        return self._record.read(shaped, path, report)  # type: ignore[arg-type]

    def json_schema(self) -> dict[str, object]:
        return AnyOf((Text(), self._record), "").json_schema()
