"""What would fit where a plan does not: each suggestion with the numbers behind it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace

from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import LEVELS
from toolkit.planning.adapter_choices import can_quantise
from toolkit.planning.adapter_kind import QUANTISED
from toolkit.planning.bases import KnownBase, siblings
from toolkit.planning.choices import needs_bitsandbytes
from toolkit.planning.fitting import Demand, Fitting, best, longest, smallest
from toolkit.planning.gpu import cards, gib
from toolkit.planning.memory import needed_bytes
from toolkit.planning.sharding import gathered_bytes

_NAMES = {"lora": "LoRA", "lora-8bit": "LoRA on int8", "qlora": "QLoRA"}
_MOST_GPUS = 64
_GROUPED_KINDS = ("cuda", "rocm", "npu")


def suggestions_for(base: str, demand: Demand, chosen: Fitting, use: IntendedUse) -> tuple[str, ...]:
    """What to change so that the run fits, the least intrusive first. Every suggestion has been tried on paper, and
    another base's licences judged for the recipe's `use`."""
    found = [
        *_less_asked(demand, chosen),
        *_shorter(demand),
        *_more_gpus(demand),
        *_larger_gpu(demand),
        *_smaller_base(base, demand, use),
    ]
    return tuple(found) or (_nothing(demand),)


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
        freed = replace(freed, checkpointing=(True,), micro_batches=demand.sizes(1))
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


def _more_gpus(demand: Demand) -> Iterator[str]:
    """The fewest GPUs of this kind that hold the run together, its parameters sharded."""
    device = demand.device
    together = device.kind in _GROUPED_KINDS and not (device.visible or "").startswith("MIG-") and demand.method.shares
    if not together or needs_bitsandbytes(demand.optimizer):
        return
    counts = [count for count in range(2, _MOST_GPUS + 1) if demand.batch_size % count == 0 and count > demand.devices]
    for count in counts:
        sizes = demand.sizes(count)
        way = smallest(replace(demand, devices=count, shardings=("fsdp2",), micro_batches=sizes))
        if way.fit != "does-not-fit":
            each = f"{gib(way.memory.peak_bytes)} of each ({way.fit})"
            yield f"{count} x {device.name} take {each} with FSDP2 and {_NAMES[way.adapter]} (--gpus {count})"
            return


def _nothing(demand: Demand) -> str:
    layer = max(gathered_bytes(demand.shape, adapter, demand.dtype, 0)[1] for adapter in demand.adapters)
    return (
        f"nothing that tk can plan: no card of the table nor up to {_MOST_GPUS} GPUs of this kind hold it "
        f"(one layer alone takes {gib(layer)}); name a smaller base"
    )


def _larger_gpu(demand: Demand) -> Iterator[str]:
    """For each adapter the smallest card of the table that it fits comfortably, NVIDIA's before others."""
    # A CPU plan is in float32; a card of the table would train in 16 bits.
    dtype = "bfloat16" if demand.device.kind == "cpu" else demand.dtype
    previous = None
    for adapter in demand.adapters:
        for card in sorted(cards(), key=lambda card: (card.kind != "cuda", card.usable_gib)):
            device = card.device("gpus.csv")
            sizes = demand.sizes(1)
            tried = replace(demand, device=device, adapters=(adapter,), dtype=dtype, devices=1, shardings=("none",))
            tried = tried if demand.devices == 1 else replace(tried, micro_batches=sizes)
            odd = not card.bf16 or card.kind == "mps" or "modified" in card.name
            if odd or (adapter in QUANTISED and not can_quantise(device, adapter)):
                continue
            way = smallest(tried)
            if way.fit == "comfortable":
                if card.name != previous:
                    need = gib(needed_bytes(way.memory, device))
                    yield f"{_NAMES[adapter]} fits on {card.name} ({card.usable_gib:g} GiB usable, {need} needed)"
                previous = card.name
                break


def _smaller_base(base: str, demand: Demand, use: IntendedUse) -> Iterator[str]:
    """The largest smaller base of the family that fits this device; where its licences allow the use less than those of
    `base` do, that is said, and the largest whose licences do not is named too."""
    warned = False
    for sibling in siblings(base):
        if sibling.parameters >= demand.shape.parameters:
            continue
        targets = sibling.shape.linear_targets()
        length = min(demand.length, sibling.shape.max_positions)
        way = best(replace(demand, shape=sibling.shape, targets=targets, length=length))
        if way.fit == "does-not-fit":
            continue
        name = _nearest(base, demand.length, sibling)
        level = _verdict_of(name, use)
        stricter = LEVELS.index(level) > LEVELS.index(_verdict_of(base, use))
        if stricter and warned:
            continue
        size = f"{gib(way.memory.peak_bytes)} with {_NAMES[way.adapter]} ({way.fit})"
        said = f"stricter than that of {base}: {level}" if stricter else level
        yield f"{name} ({terms_of(name)}) takes {size}; its licence verdict for this use is {said}"
        if not stricter:
            return
        warned = True


def _verdict_of(name: str, use: IntendedUse) -> str:
    """What the licences of a hub id say to a use, by the catalogue and the local cache."""
    from toolkit.licensing.library import library
    from toolkit.models.lineage import examine
    from toolkit.models.resolve import Access

    return examine(name, use, Access(library(), offline=True)).verdict.level


def terms_of(name: str) -> str:
    """The licence that the catalogue gives for a hub id, by name."""
    from toolkit.licensing.library import library

    found = library().catalogued(name)
    return " or ".join(match.head.name for match in found) or "its licence is not in the catalogue"


def _nearest(base: str, length: int, sibling: KnownBase) -> str:
    """Of the ids of one size that take rows of `length`, the one most like the base's: Instruct for Instruct, Coder
    for Coder."""
    same = [sibling, *siblings(sibling.ids[0])]
    enough = min(length, sibling.shape.max_positions)
    names = [
        name
        for other in same
        if other.parameters == sibling.parameters and other.shape.max_positions >= enough
        for name in other.ids
    ]
    return max(names, key=lambda name: difflib.SequenceMatcher(None, base.lower(), name.lower()).ratio())
