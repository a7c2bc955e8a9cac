"""The search for what fits: adapter, gradient checkpointing and micro-batch, the cheapest to train first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit.planning.gpu import Device
from toolkit.planning.memory import MemoryEstimate, estimate, fit
from toolkit.planning.shape import Shape

LARGEST_MICRO_BATCH = 16

# Below about this many tokens a forward pass leaves a GPU waiting for its memory, and a larger micro-batch is worth
# the recomputation that makes room for it.
BUSY_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Demand:
    """What a recipe asks of a device, and what may be chosen freely. Preferred values come first."""

    shape: Shape
    device: Device
    adapters: Sequence[str]
    checkpointing: Sequence[bool]
    batch_size: int
    micro_batches: Sequence[int]
    rank: int
    targets: tuple[str, ...]
    length: int
    dtype: str
    packing: bool
    optimizer: str
    dropout: float


@dataclass(frozen=True, slots=True)
class Fitting:
    """One way to run, what it takes, and whether that fits."""

    adapter: str
    checkpointing: bool
    micro_batch: int
    memory: MemoryEstimate
    fit: str


def micro_batches(batch_size: int) -> tuple[int, ...]:
    """Divisors of the batch size up to 16, largest first."""
    return tuple(size for size in range(min(batch_size, LARGEST_MICRO_BATCH), 0, -1) if batch_size % size == 0)


def measure(demand: Demand, adapter: str, checkpointing: bool, micro_batch: int) -> Fitting:
    """What one way to run takes on the device."""
    memory = estimate(
        demand.shape,
        adapter=adapter,
        rank=demand.rank,
        targets=demand.targets,
        batch=micro_batch,
        length=demand.length,
        checkpointing=checkpointing,
        dtype=demand.dtype,
        optimizer=demand.optimizer,
        accumulation=demand.batch_size // micro_batch,
        dropout=demand.dropout,
        masked=demand.packing or micro_batch > 1,
        device_kind=demand.device.kind,
    )
    return Fitting(adapter, checkpointing, micro_batch, memory, fit(memory, demand.device))


def best(demand: Demand) -> Fitting:
    """The best way that fits comfortably, else tightly, else the smallest there is (which then does not fit).

    LoRA comes before QLoRA, no recomputation before recomputation, a larger micro-batch before a smaller one; but on
    an accelerator recomputation comes first where it alone gives a micro-batch that keeps the device busy.
    """
    for verdict in ("comfortable", "tight"):
        for adapter in demand.adapters:
            found = [way for flag in demand.checkpointing if (way := _largest(demand, adapter, flag, verdict))]
            if found:
                return _busier(found, demand)
    return smallest(demand)


def smallest(demand: Demand) -> Fitting:
    """The way that takes the least memory, whether it fits or not."""
    ways = [
        measure(demand, adapter, flag, demand.micro_batches[-1])
        for adapter in demand.adapters
        for flag in demand.checkpointing
    ]
    return min(ways, key=lambda way: way.memory.peak_bytes)


def longest(demand: Demand) -> int | None:
    """The longest rows, in steps of 64 tokens, that fit in the smallest way; None where not even 64 do."""
    steps = range(64, demand.length, 64)
    low, high = 0, len(steps)
    while low < high:  # memory grows with the length
        middle = (low + high) // 2
        if smallest(replace(demand, length=steps[middle])).fit == "does-not-fit":
            high = middle
        else:
            low = middle + 1
    return steps[low - 1] if low else None


def _largest(demand: Demand, adapter: str, checkpointing: bool, verdict: str) -> Fitting | None:
    accepted = ("comfortable",) if verdict == "comfortable" else ("comfortable", "tight")
    ways = (measure(demand, adapter, checkpointing, size) for size in demand.micro_batches)
    return next((way for way in ways if way.fit in accepted), None)


def _busier(found: Sequence[Fitting], demand: Demand) -> Fitting:
    first = found[0]
    if demand.device.kind == "cpu" or first.micro_batch * demand.length >= BUSY_TOKENS:
        return first
    return max(found, key=lambda way: min(way.micro_batch * demand.length, BUSY_TOKENS))  # the first of equals
