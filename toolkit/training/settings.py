"""What exactly will run: the recipe's settings and the plan's choices in one typed value, as the methods read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.planning.method_settings import GrpoSettings, PreferenceSettings
from toolkit.planning.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    """Every number that training depends on. `accumulation` × `micro_batch_size` examples of each process make an optimiser step."""

    adapter: str  # lora | lora-8bit | qlora
    targets: tuple[str, ...]
    rank: int
    alpha: int
    dropout: float
    dtype: str  # float32 | bfloat16 | float16
    device: str  # cuda | rocm | npu | mps | cpu
    attention: str
    optimizer: str
    learning_rate: float
    scheduler: str
    warmup: float
    weight_decay: float
    epochs: float
    max_steps: int | None
    micro_batch_size: int
    accumulation: int
    max_length: int
    packing: bool
    checkpointing: bool
    seed: int
    save_every: float | str = 0.25  # share of the steps, or a time such as 10min
    save_keep: int = 2
    trust_remote_code: bool = False
    start: str | None = None
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    grpo: GrpoSettings = field(default_factory=GrpoSettings)
    recipe: str = ""  # its file, which names of reward functions are relative to
    packing_asked: bool = False  # by the recipe: then it is that or an error
    on_overlength: str = "error"  # error | split | truncate
    train_on: str = "assistant"  # assistant | last | all
    sharding: str = "none"  # none | ddp | fsdp2
    dora: bool = False
    rslora: bool = False
    init: str = "default"  # or what PEFT's `init_lora_weights` says
    lora_plus_ratio: float | None = None
    new_tokens: tuple[str, ...] = ()

    @property
    def bits(self) -> int | None:
        """Bits that a matrix of the base is quantised to; None where it stays as it is."""
        return bits_of_adapter(self.adapter)

    @property
    def device_type(self) -> str:
        """The device as torch calls it; ROCm builds answer to `cuda`."""
        return "cuda" if self.device == "rocm" else self.device


def bits_of_adapter(kind: str) -> int | None:
    """Bits that the matrices of the base have under a kind of adapter; None where they stay as they are."""
    return {"lora-8bit": 8, "qlora": 4}.get(kind)


def settings_of(recipe: Recipe, choices: Mapping[str, Any], device: str) -> Settings:
    """The settings of a recipe under a plan. `choices` are the plan's, each with a `.value`; `device` its kind."""
    value = {name: choice.value for name, choice in choices.items()}
    train = recipe.train
    return Settings(
        adapter=str(value["adapter"]),
        targets=tuple(value["target_modules"]),
        rank=int(value["rank"]),
        alpha=int(value["alpha"]),
        dropout=recipe.adapter.dropout,
        dtype=str(value["dtype"]),
        device=device,
        attention=str(value["attention"]),
        optimizer=str(value["optimizer"]),
        learning_rate=float(value["learning_rate"]),
        scheduler=train.scheduler,
        warmup=train.warmup,
        weight_decay=train.weight_decay,
        epochs=train.epochs,
        max_steps=train.max_steps,
        micro_batch_size=int(value["micro_batch_size"]),
        accumulation=int(value["gradient_accumulation"]),
        max_length=int(value["max_length"]),
        packing=bool(value["packing"]),
        checkpointing=bool(value["gradient_checkpointing"]),
        seed=train.seed,
        save_every=train.save.every,
        save_keep=train.save.keep,
        trust_remote_code=recipe.trust_remote_code,
        start=recipe.adapter.start,
        preference=replace(recipe.preference, beta=value.get("beta"), loss=value.get("preference_loss")),
        grpo=recipe.grpo,
        recipe=recipe.path,
        on_overlength=recipe.data.on_overlength,
        train_on=recipe.data.train_on,
        sharding=str(value["sharding"]),
        dora=recipe.adapter.dora,
        rslora=recipe.adapter.rslora,
        init=recipe.adapter.init,
        lora_plus_ratio=recipe.adapter.lora_plus_ratio,
        new_tokens=recipe.adapter.new_tokens,
        packing_asked=train.packing is True,
    )
