"""The plan: what exactly a recipe will run on a device, why, and in how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from toolkit.errors import InvalidInput
from toolkit.planning.adapter_choices import kind_of, unsharded
from toolkit.planning.adapter_kind import trained_parameters
from toolkit.planning.choices import (
    Choice,
    adapter_types,
    fixed_choices,
    loss_choice,
    needs_bitsandbytes,
    override_problems,
)
from toolkit.planning.duration import Prediction, predict
from toolkit.planning.estimates import MemoryEstimate
from toolkit.planning.fitting import Demand, Fitting, best, measure, micro_batches
from toolkit.planning.gpu import Device
from toolkit.planning.memory import context_bytes
from toolkit.planning.method_choices import method_choices
from toolkit.planning.method_steps import step_of
from toolkit.planning.reasons import searched_choices
from toolkit.planning.recipe import Recipe
from toolkit.planning.roofline import rates_of
from toolkit.planning.rows import Rows
from toolkit.planning.shape import Shape
from toolkit.planning.steps import with_batch_size
from toolkit.planning.suggestions import suggestions_for

__all__ = ["Choice", "Plan", "make_plan"]

# The order in which a plan is read.
_ORDER = (
    "adapter",
    "adapter_dtype",
    "dtype",
    "target_modules",
    "rank",
    "alpha",
    "rslora",
    "dora",
    "init",
    "dropout",
    "new_tokens",
    "learning_rate",
    "preference_loss",
    "beta",
    "reference",
    "reward",
    "generations",
    "max_completion_length",
    "temperature",
    "lora_plus_ratio",
    "sharding",
    "batch_size",
    "gradient_checkpointing",
    "packing",
    "micro_batch_size",
    "gradient_accumulation",
    "max_length",
    "attention",
    "optimizer",
    "loss",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run. `fit` is comfortable, tight or does-not-fit; `suggestions` say what would fit when it does not.

    `memory` is that of each of `gpus` devices; `estimate` the predicted time, None where nothing is known of the speed.
    """

    base: str
    device: Device
    shape: Shape
    choices: Mapping[str, Choice]
    memory: MemoryEstimate
    fit: str
    suggestions: tuple[str, ...]
    trainable_parameters: int
    gpus: int
    estimate: Prediction | None
    demand: Demand

    def peak_bytes_at(self, length: int) -> int:
        """Planned peak of the same run on rows of `length` tokens, such as the longest that the data really has."""
        value = {name: choice.value for name, choice in self.choices.items()}
        way = measure(
            replace(self.demand, length=length),
            str(value["adapter"]),
            value["gradient_checkpointing"] is True,
            int(str(value["micro_batch_size"])),
            str(value["sharding"]),
        )
        return way.memory.peak_bytes

    def to_json(self) -> dict[str, object]:
        """The plan as `tk/plan/1`."""
        total = self.shape.parameters
        return {
            "schema": "tk/plan/1",
            "base": self.base,
            "device": self.device.to_json(),
            "choices": {name: choice.to_json() for name, choice in self.choices.items()},
            "memory": {
                "peak_bytes": self.memory.peak_bytes,
                "moment": self.memory.moment,
                "answered_by": self.memory.answered_by,
                "parts": dict(self.memory.parts),
                "context_bytes": context_bytes(self.device),
                "usable_bytes": self.device.usable_bytes,
            },
            "fit": self.fit,
            "suggestions": list(self.suggestions),
            "parameters": {
                "total": total,
                "trainable": self.trainable_parameters,
                "trainable_share": self.trainable_parameters / total,
            },
            "gpus": self.gpus,
            **({"estimate": self.estimate.to_json()} if self.estimate else {}),
        }


def make_plan(
    recipe: Recipe,
    shape: Shape,
    device: Device,
    *,
    gpus: int | None = None,
    rows: Rows | None = None,
    suggest: bool = True,
) -> Plan:
    """Decide everything a recipe leaves open for a base of `shape` on `device`.

    `gpus` of the device are taken; left out, one where it suffices and else all there are. `rows` are the counted rows
    of the data. Raises InvalidInput with everything the recipe asks for that the base or the device cannot do. A run
    that does not fit is a plan all the same, with suggestions unless `suggest` spares the search for them.
    """
    several = gpus if gpus is not None else device.count if recipe.train.sharding in ("ddp", "fsdp2") else 1
    used = device.in_a_group if several > 1 else device
    asked, (recipe, size) = recipe, with_batch_size(recipe, rows, recipe.train.max_length, several)
    if problems := list(override_problems(recipe, shape, used, several)):
        raise InvalidInput(problems)
    choices = fixed_choices(recipe, shape, used) | method_choices(recipe, shape)
    demand = _demand(recipe, shape, used, choices, several, rows)
    chosen = best(demand)
    if chosen.fit == "does-not-fit" and gpus is None and several == 1:
        everything, size_of_all = with_batch_size(asked, rows, recipe.train.max_length, device.count)
        if on_all := _on_all(everything, shape, device, choices, rows):
            (demand, chosen), recipe, size = on_all, everything, size_of_all
    targets = demand.targets
    choices |= searched_choices(recipe, demand, chosen)
    if size is not None:
        choices["batch_size"] = size
    tokens, ours = chosen.micro_batch * demand.method.sequences * demand.length, bool(recipe.adapter.new_tokens)
    choices["loss"] = loss_choice(shape, tokens, demand.device, demand.dtype, ours=ours)
    suggestions: tuple[str, ...] = ()
    if suggest and chosen.fit == "does-not-fit":
        suggestions = suggestions_for(recipe.base, demand, chosen, recipe.use)
    return Plan(
        base=recipe.base,
        device=demand.device,
        shape=shape,
        choices={name: choices[name] for name in _ORDER if name in choices},
        memory=chosen.memory,
        fit=chosen.fit,
        suggestions=suggestions,
        trainable_parameters=trained_parameters(shape, recipe.adapter.rank, targets, demand.kind),
        gpus=chosen.devices,
        estimate=predict(recipe, demand, chosen),
        demand=demand,
    )


def _on_all(
    recipe: Recipe, shape: Shape, device: Device, choices: dict[str, Choice], rows: Rows | None
) -> tuple[Demand, Fitting] | None:
    """What all the GPUs there are would run, where they hold what one does not."""
    shared = device.in_a_group
    may = recipe.train.sharding == "auto" and device.count > 1
    if not may or any(override_problems(recipe, shape, shared, device.count)):
        return None
    demand = _demand(recipe, shape, shared, choices, device.count, rows)
    chosen = best(demand)
    return (demand, chosen) if chosen.fit != "does-not-fit" else None


def _demand(
    recipe: Recipe, shape: Shape, device: Device, choices: dict[str, Choice], devices: int, rows: Rows | None
) -> Demand:
    train = recipe.train
    targets, attention = choices["target_modules"].value, str(choices["attention"].value)
    assert isinstance(targets, tuple)
    packing = (train.packing,) if train.packing is not None else (False, True) if attention == "sdpa" else (False,)
    method = step_of(recipe)
    if method.packs is not None:
        packing = (method.packs,)
    sizes = micro_batches(recipe.rows_per_step, devices, method.smallest)
    return Demand(
        shape=shape,
        device=device,
        adapters=adapter_types(recipe, shape, device),
        checkpointing=(False, True) if train.gradient_checkpointing is None else (train.gradient_checkpointing,),
        batch_size=recipe.rows_per_step,
        micro_batches=(train.micro_batch_size,) if train.micro_batch_size else sizes,
        rank=recipe.adapter.rank,
        targets=targets,
        length=int(str(choices["max_length"].value)),
        dtype=str(choices["dtype"].value),
        packing=packing,
        optimizer=str(choices["optimizer"].value),
        dropout=recipe.adapter.dropout,
        attention=attention,
        devices=devices,
        shardings=_shardings(recipe, choices, devices),
        rates=rates_of(device),
        rows=rows,
        method=method,
        kind=kind_of(recipe),
        may_shard=unsharded(recipe) is None and not recipe.adapter.new_tokens,
    )


def _shardings(recipe: Recipe, choices: dict[str, Choice], devices: int) -> tuple[str, ...]:
    if devices == 1:
        return ("none",)
    if recipe.train.sharding != "auto":
        return (recipe.train.sharding,)
    whole = needs_bitsandbytes(str(choices["optimizer"].value)) or unsharded(recipe) is not None
    return ("ddp",) if whole else ("ddp", "fsdp2")
