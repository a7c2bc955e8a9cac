"""The plan: what exactly a recipe will run on a device, why, and in how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.errors import InvalidInput
from toolkit.planning.choices import ASKED, Choice, adapter_types, fixed_choices, loss_choice, override_problems
from toolkit.planning.fitting import BUSY_TOKENS, Demand, Fitting, best, measure, micro_batches
from toolkit.planning.gpu import Device, billions, gib
from toolkit.planning.memory import MemoryEstimate, context_bytes, weight_bytes
from toolkit.planning.recipe import Recipe
from toolkit.planning.shape import Shape
from toolkit.planning.suggestions import suggestions_for

__all__ = ["Choice", "Plan", "make_plan"]

# The order in which a plan is read.
_ORDER = (
    "adapter",
    "dtype",
    "target_modules",
    "rank",
    "alpha",
    "learning_rate",
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
    """What will run. `fit` is comfortable, tight or does-not-fit; `suggestions` say what would fit when it does not."""

    base: str
    device: Device
    shape: Shape
    choices: Mapping[str, Choice]
    memory: MemoryEstimate
    fit: str
    suggestions: tuple[str, ...]
    trainable_parameters: int

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
        }


def make_plan(recipe: Recipe, shape: Shape, device: Device) -> Plan:
    """Decide everything a recipe leaves open for a base of `shape` on `device`.

    Raises InvalidInput with everything the recipe asks for that the base or the device cannot do. A run that does not
    fit is a plan all the same, with suggestions.
    """
    if problems := list(override_problems(recipe, shape, device)):
        raise InvalidInput(problems)
    choices = fixed_choices(recipe, shape, device)
    train = recipe.train
    targets = choices["target_modules"].value
    assert isinstance(targets, tuple)
    demand = Demand(
        shape=shape,
        device=device,
        adapters=adapter_types(recipe, shape, device),
        checkpointing=(False, True) if train.gradient_checkpointing is None else (train.gradient_checkpointing,),
        batch_size=train.batch_size,
        micro_batches=(train.micro_batch_size,) if train.micro_batch_size else micro_batches(train.batch_size),
        rank=recipe.adapter.rank,
        targets=targets,
        length=int(str(choices["max_length"].value)),
        dtype=str(choices["dtype"].value),
        packing=choices["packing"].value is True,
        optimizer=str(choices["optimizer"].value),
        dropout=recipe.adapter.dropout,
    )
    chosen = best(demand)
    choices |= {
        "adapter": _adapter(recipe, demand, chosen),
        "gradient_checkpointing": _checkpointing(recipe, demand, chosen),
        "micro_batch_size": _micro_batch(recipe, demand, chosen),
        "gradient_accumulation": _accumulation(demand, chosen),
        "loss": loss_choice(shape, chosen.micro_batch * demand.length),
    }
    return Plan(
        base=recipe.base,
        device=device,
        shape=shape,
        choices={name: choices[name] for name in _ORDER},
        memory=chosen.memory,
        fit=chosen.fit,
        suggestions=suggestions_for(recipe.base, demand, chosen) if chosen.fit == "does-not-fit" else (),
        trainable_parameters=shape.adapter_parameters(recipe.adapter.rank, targets),
    )


def _adapter(recipe: Recipe, demand: Demand, chosen: Fitting) -> Choice:
    shape, device = demand.shape, demand.device
    if recipe.adapter.type != "auto":
        return Choice(chosen.adapter, ASKED)
    weights = sum(weight_bytes(shape, "lora", demand.dtype))
    need = f"{billions(shape.parameters)} parameters in {demand.dtype} need {gib(weights)}"
    usable = f"{gib(device.usable_bytes)} are usable on {device.name}"
    if chosen.adapter == "lora":
        if chosen.fit == "does-not-fit":
            return Choice("lora", f"{need}, {usable}; QLoRA is not available there")
        return Choice("lora", f"{need} and a step {gib(chosen.memory.peak_bytes)}, {usable}")
    if shape.quantization == "bitsandbytes":
        return Choice("qlora", "the base is stored in bitsandbytes' 4 or 8 bits")
    quantised = gib(sum(weight_bytes(shape, "qlora", demand.dtype)))
    least = min(
        measure(demand, "lora", flag, demand.micro_batches[-1]).memory.peak_bytes for flag in demand.checkpointing
    )
    why = f"{need} and a LoRA step at least {gib(least)}, {usable}; in 4 bits (NF4) the weights need {quantised}"
    if shape.fused_expert_parameters:
        why += f", as bitsandbytes leaves {billions(shape.fused_expert_parameters)} of routed experts in 16 bits"
    return Choice("qlora", why)


def _checkpointing(recipe: Recipe, demand: Demand, chosen: Fitting) -> Choice:
    if recipe.train.gradient_checkpointing is not None:
        return Choice(chosen.checkpointing, ASKED)
    if not chosen.checkpointing:
        return Choice(False, "activations fit without recomputing them, which would take a fifth to a third longer")
    without = measure(demand, chosen.adapter, False, chosen.micro_batch)
    why = f"without it a micro-batch of {chosen.micro_batch} takes {gib(without.memory.peak_bytes)} instead of "
    return Choice(True, why + gib(chosen.memory.peak_bytes))


def _micro_batch(recipe: Recipe, demand: Demand, chosen: Fitting) -> Choice:
    if recipe.train.micro_batch_size is not None:
        return Choice(chosen.micro_batch, ASKED)
    if chosen.fit == "does-not-fit":
        return Choice(chosen.micro_batch, "the smallest, and even that does not fit")
    if chosen.micro_batch == demand.micro_batches[0]:
        all_of_it = chosen.micro_batch == demand.batch_size
        limit = "all of batch_size" if all_of_it else "the largest divisor of batch_size up to 16"
        return Choice(chosen.micro_batch, f"{limit}; {chosen.micro_batch} x {demand.length} tokens fit")
    larger = demand.micro_batches[demand.micro_batches.index(chosen.micro_batch) - 1]
    more = gib(measure(demand, chosen.adapter, chosen.checkpointing, larger).memory.peak_bytes)
    why = f"the largest divisor of batch_size that fits: {larger} would take {more} before reserves"
    accelerated = demand.device.kind != "cpu" and len(demand.checkpointing) > 1
    if accelerated and not chosen.checkpointing and chosen.micro_batch * demand.length >= BUSY_TOKENS:
        why += f"; {chosen.micro_batch * demand.length} tokens keep the device busy without recomputation"
    return Choice(chosen.micro_batch, why)


def _accumulation(demand: Demand, chosen: Fitting) -> Choice:
    steps = demand.batch_size // chosen.micro_batch
    return Choice(steps, f"batch_size {demand.batch_size} in micro-batches of {chosen.micro_batch}")
