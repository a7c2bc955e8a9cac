"""Why the search chose what it chose: the alternatives it had, with their numbers."""

from __future__ import annotations

from toolkit.planning.choices import ASKED, Choice
from toolkit.planning.fitting import Demand, Fitting, measure, packs_for_nothing, step_seconds, without_recomputation
from toolkit.planning.gpu import billions, gib
from toolkit.planning.memory import weight_bytes
from toolkit.planning.recipe import Recipe


def searched_choices(recipe: Recipe, demand: Demand, chosen: Fitting) -> dict[str, Choice]:
    """Every choice that memory or time decided."""
    return {
        "adapter": _adapter(recipe, demand, chosen),
        "sharding": _sharding(recipe, demand, chosen),
        "gradient_checkpointing": _checkpointing(recipe, demand, chosen),
        "packing": _packing(recipe, demand, chosen),
        "micro_batch_size": _micro_batch(recipe, demand, chosen),
        "gradient_accumulation": _accumulation(recipe, demand, chosen),
    }


def _adapter(recipe: Recipe, demand: Demand, chosen: Fitting) -> Choice:
    shape, device = demand.shape, demand.device
    if recipe.adapter.type != "auto":
        return Choice(chosen.adapter, ASKED)
    weights = sum(weight_bytes(shape, "lora", demand.dtype))
    need = f"{billions(shape.parameters)} parameters in {demand.dtype} need {gib(weights)}"
    each = f" of each of {chosen.devices}" if chosen.devices > 1 else ""
    usable = f"{gib(device.usable_bytes)} are usable on {device.name}{each}"
    if chosen.adapter == "lora":
        if chosen.fit == "does-not-fit":
            return Choice("lora", f"{need}, {usable}; QLoRA is not available there")
        return Choice("lora", f"{need} and a step {gib(chosen.memory.peak_bytes)}, {usable}")
    if shape.quantization == "bitsandbytes":
        return Choice("qlora", "the base is stored in bitsandbytes' 4 or 8 bits")
    quantised = gib(sum(weight_bytes(shape, "qlora", demand.dtype)))
    least = min(
        measure(demand, "lora", flag, demand.micro_batches[-1], sharding).memory.peak_bytes
        for flag in demand.checkpointing
        for sharding in demand.shardings
    )
    why = f"{need} and a LoRA step at least {gib(least)}, {usable}; in 4 bits (NF4) the weights need {quantised}"
    if shape.fused_expert_parameters:
        why += f", {billions(shape.fused_expert_parameters)} of routed experts among them"
    return Choice("qlora", why)


def _sharding(recipe: Recipe, demand: Demand, chosen: Fitting) -> Choice:
    asked = recipe.train.sharding != "auto"
    if chosen.devices == 1:
        several = demand.device.count > 1
        found = f"one of the {demand.device.count} GPUs holds it; --gpus {demand.device.count} takes all"
        if chosen.fit == "does-not-fit":
            found = f"{demand.device.count} GPUs together do not hold it either, or cannot share batch_size evenly"
        return Choice("none", ASKED if asked else found if several else "one device")
    peak = gib(chosen.memory.peak_bytes)
    if chosen.sharding == "ddp":
        return Choice("ddp", ASKED if asked else f"each of {chosen.devices} GPUs holds the whole step, {peak}")
    alone = measure(demand, chosen.adapter, chosen.checkpointing, chosen.micro_batch, "ddp").memory.peak_bytes
    why = f"a whole step takes {gib(alone)}, its {chosen.devices} shards {peak} each"
    if chosen.adapter == "qlora":
        why += "; 4-bit weights are stored as bfloat16, or they would not be sharded"
    return Choice("fsdp2", f"{ASKED}: {why}" if asked else why)


def _checkpointing(recipe: Recipe, demand: Demand, chosen: Fitting) -> Choice:
    if recipe.train.gradient_checkpointing is not None:
        return Choice(chosen.checkpointing, ASKED)
    if not chosen.checkpointing:
        return Choice(False, "activations fit without recomputing them, which would take a fifth to a third longer")
    other = without_recomputation(demand, chosen)
    if other is not None and other.seconds and chosen.seconds:
        times = f"a step takes {chosen.seconds:.2g} s instead of {other.seconds:.2g}"
        return Choice(
            True, f"makes room for a micro-batch of {chosen.micro_batch} instead of {other.micro_batch}; {times}"
        )
    without = measure(demand, chosen.adapter, False, chosen.micro_batch, chosen.sharding, chosen.packing)
    why = f"without it a micro-batch of {chosen.micro_batch} takes {gib(without.memory.peak_bytes)} instead of "
    return Choice(True, why + gib(chosen.memory.peak_bytes))


def _packing(recipe: Recipe, demand: Demand, chosen: Fitting) -> Choice:
    if recipe.train.packing is not None:
        return Choice(chosen.packing, ASKED)
    if demand.method.packs:
        return Choice(True, "documents fill rows of max_length, none of them attending to another")
    if demand.method.packs is False:
        return Choice(False, f"{demand.method.method} compares answers side by side, each in a row of its own")
    if demand.attention != "sdpa":
        return Choice(False, f"{demand.attention} keeps packed rows apart only in batches of one line")
    if chosen.micro_batch == 1:
        return Choice(False, "a micro-batch is one row, so there is nothing to pack")
    if chosen.packing and packs_for_nothing(demand.device):
        return Choice(True, "rows lie end to end and attention takes each by itself: nothing is computed for padding")
    if not demand.rows or chosen.seconds is None:
        return Choice(False, "rows are padded to the longest of their micro-batch; packing spares that, if asked")
    padded = demand.rows.computed_tokens(chosen.micro_batch, packed=False)
    packed = demand.rows.computed_tokens(chosen.micro_batch, packed=True)
    if chosen.packing:
        return Choice(True, f"a micro-batch computes about {packed:,.0f} tokens instead of {padded:,.0f} with padding")
    padding = 1 - chosen.micro_batch * demand.rows.tokens / demand.rows.count / padded
    return Choice(False, f"about {padding:.0%} of what a micro-batch computes is padding; sparing that would not pay")


def _micro_batch(recipe: Recipe, demand: Demand, chosen: Fitting) -> Choice:
    size, sizes = chosen.micro_batch, demand.micro_batches
    if recipe.train.micro_batch_size is not None:
        return Choice(size, ASKED)
    if chosen.fit == "does-not-fit":
        return Choice(size, "the smallest, and even that does not fit")
    share = (
        "batch_size" if chosen.devices == 1 else f"a GPU's share of batch_size, {demand.batch_size // chosen.devices}"
    )
    if size == sizes[0]:
        all_of_it = chosen.accumulates == demand.batch_size
        limit = f"all of {share}" if all_of_it else f"the largest divisor of {share} up to 16"
        return Choice(size, f"{limit}; {size} x {demand.length} tokens fit")
    larger = measure(
        demand, chosen.adapter, chosen.checkpointing, sizes[sizes.index(size) - 1], chosen.sharding, chosen.packing
    )
    if larger.fit == chosen.fit and chosen.seconds and larger.seconds:
        times = f"{larger.seconds:.2g} s a step instead of {chosen.seconds:.2g}"
        return Choice(size, f"the quickest by prediction: {larger.micro_batch} would fit and take {times}, for padding")
    more = gib(larger.memory.peak_bytes)
    why = f"the largest divisor of {share} that fits: {larger.micro_batch} would take {more} before reserves"
    return Choice(size, why + _against_recomputation(demand, chosen, larger.micro_batch))


def _against_recomputation(demand: Demand, chosen: Fitting, size: int) -> str:
    """Where recomputation would make room for a larger micro-batch: that it would not be quicker."""
    if chosen.checkpointing or True not in demand.checkpointing or chosen.seconds is None:
        return ""
    other = measure(demand, chosen.adapter, True, size, chosen.sharding, chosen.packing)
    seconds = step_seconds(demand, other)
    if other.fit != chosen.fit or seconds is None:
        return ""
    return f", and with recomputation {seconds:.2g} s a step instead of {chosen.seconds:.2g}"


def _accumulation(recipe: Recipe, demand: Demand, chosen: Fitting) -> Choice:
    steps = demand.batch_size // chosen.accumulates
    on = f" on {chosen.devices} GPUs" if chosen.devices > 1 else ""
    sampled = f", {demand.batch_size} answers," if demand.method.sampled else ""
    batch = demand.batch_size // recipe.grpo.generations if demand.method.sampled else demand.batch_size
    return Choice(steps, f"batch_size {batch}{sampled} in micro-batches of {chosen.micro_batch}{on}")
