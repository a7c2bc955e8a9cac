"""What would fit where a plan does not: each suggestion with the numbers behind it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace

from toolkit.planning.bases import KnownBase, siblings
from toolkit.planning.choices import can_quantise
from toolkit.planning.fitting import Demand, Fitting, best, longest, micro_batches, smallest
from toolkit.planning.gpu import cards, gib
from toolkit.planning.memory import needed_bytes

_NAMES = {"lora": "LoRA", "qlora": "QLoRA"}


def suggestions_for(base: str, demand: Demand, chosen: Fitting) -> tuple[str, ...]:
    """What to change so that the run fits, the least intrusive first. Every suggestion has been tried on paper."""
    found = [
        *_less_asked(demand, chosen),
        *_shorter(demand),
        *_larger_gpu(demand),
        *_smaller_base(base, demand),
    ]
    return tuple(found) or ("nothing that one device can do: this base needs several, which tk does not plan for yet",)


def _less_asked(demand: Demand, chosen: Fitting) -> Iterator[str]:
    """What the recipe itself forbids."""
    freed = demand
    if "qlora" not in demand.adapters and can_quantise(demand.device) and demand.shape.quantization is None:
        freed = replace(freed, adapters=("qlora",))
        way = smallest(freed)
        if way.fit != "does-not-fit":
            yield f"adapter.type: qlora takes {_saving(way, chosen)}"
            return
    if True not in demand.checkpointing or demand.micro_batches[-1] > 1:
        freed = replace(freed, checkpointing=(True,), micro_batches=micro_batches(demand.batch_size))
        way = smallest(freed)
        if way.fit != "does-not-fit":
            adapter = "" if way.adapter == chosen.adapter else f"adapter.type: {way.adapter}, "
            settings = f"{adapter}gradient_checkpointing: true and micro_batch_size: {way.micro_batch}"
            yield f"{settings} take {_saving(way, chosen)}"


def _saving(way: Fitting, chosen: Fitting) -> str:
    return f"{gib(way.memory.peak_bytes)} instead of {gib(chosen.memory.peak_bytes)} ({way.fit})"


def _shorter(demand: Demand) -> Iterator[str]:
    length = longest(demand)
    if length is not None:
        way = smallest(replace(demand, length=length))
        yield f"max_length: {length} instead of {demand.length} takes {gib(way.memory.peak_bytes)} ({way.fit})"


def _larger_gpu(demand: Demand) -> Iterator[str]:
    """For each adapter the smallest card of the table that it fits comfortably, NVIDIA's before others."""
    # A CPU plan is in float32; a card of the table would train in 16 bits.
    dtype = "bfloat16" if demand.device.kind == "cpu" else demand.dtype
    previous = None
    for adapter in demand.adapters:
        for card in sorted(cards(), key=lambda card: (card.kind != "cuda", card.usable_gib)):
            device = card.device("gpus.csv")
            tried = replace(demand, device=device, adapters=(adapter,), dtype=dtype)
            odd = not card.bf16 or card.kind == "mps" or "modified" in card.name
            if odd or (adapter == "qlora" and not can_quantise(device)):
                continue
            way = smallest(tried)
            if way.fit == "comfortable":
                if card.name != previous:
                    need = gib(needed_bytes(way.memory, device))
                    yield f"{_NAMES[adapter]} fits on {card.name} ({card.usable_gib:g} GiB usable, {need} needed)"
                previous = card.name
                break


def _smaller_base(base: str, demand: Demand) -> Iterator[str]:
    """The largest smaller base of the family that fits this device."""
    for sibling in siblings(base):
        if sibling.parameters >= demand.shape.parameters:
            continue
        targets = sibling.shape.linear_targets()
        length = min(demand.length, sibling.shape.max_positions)
        way = best(replace(demand, shape=sibling.shape, targets=targets, length=length))
        if way.fit != "does-not-fit":
            yield f"{_nearest(base, sibling)} takes {gib(way.memory.peak_bytes)} with {_NAMES[way.adapter]} ({way.fit})"
            return


def _nearest(base: str, sibling: KnownBase) -> str:
    """Of the ids that share a shape, the one most like the base's: Instruct for Instruct, Coder for Coder."""
    return max(sibling.ids, key=lambda name: difflib.SequenceMatcher(None, base.lower(), name.lower()).ratio())
