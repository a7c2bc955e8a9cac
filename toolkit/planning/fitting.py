"""The search for what fits: adapter, sharding, checkpointing, micro-batch and packing, the quickest by prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from toolkit.planning.adapter_kind import PLAIN, AdapterKind, trained_parameters
from toolkit.planning.estimates import MemoryEstimate
from toolkit.planning.gpu import Device
from toolkit.planning.memory import ELEMENT_BYTES, estimate, fit, weight_bytes
from toolkit.planning.method_steps import SUPERVISED, MethodStep
from toolkit.planning.roofline import Rates, Step, gather_seconds, reduce_seconds
from toolkit.planning.rows import Rows
from toolkit.planning.shape import Shape
from toolkit.planning.sharding import on_several

LARGEST_MICRO_BATCH = 16

# Predictions are not more exact than this: ways that are closer are taken for equal.
_EQUAL = 1.10
_PACKING_SAVES = 0.85  # of the time, or it is left out


@dataclass(frozen=True, slots=True)
class Demand:
    """What a recipe asks of devices, and what may be chosen freely. Preferred values come first.

    A micro-batch counts what `method` makes rows of: examples, pairs, or sampled answers. `devices` of them run; `rates` is None where nothing is known of their speed, `rows` where the data was not counted.
    """

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
    packing: Sequence[bool]
    optimizer: str
    dropout: float
    attention: str = "sdpa"
    devices: int = 1
    shardings: Sequence[str] = ("none",)
    rates: Rates | None = None
    rows: Rows | None = None
    method: MethodStep = SUPERVISED
    kind: AdapterKind = PLAIN
    may_shard: bool = True

    @property
    def gradients_bytes(self) -> int:
        """Bytes of the adapter's float32 gradients."""
        return 4 * trained_parameters(self.shape, self.rank, self.targets, self.kind)

    def sizes(self, devices: int) -> tuple[int, ...]:
        """The micro-batches that so many devices may take."""
        return micro_batches(self.batch_size, devices, self.method.smallest)


@dataclass(frozen=True, slots=True)
class Fitting:
    """One way to run: what each device holds, whether that fits, and the predicted seconds of an optimiser step."""

    adapter: str
    checkpointing: bool
    micro_batch: int
    memory: MemoryEstimate
    fit: str
    sharding: str = "none"
    devices: int = 1
    packing: bool = False
    seconds: float | None = None

    @property
    def accumulates(self) -> int:
        """Examples that one forward pass of all devices takes."""
        return self.micro_batch * self.devices


def micro_batches(batch_size: int, devices: int = 1, smallest: int = 1) -> tuple[int, ...]:
    """Divisors of one device's share of the batch size, up to 16 and from `smallest` on, largest first; the whole share
    where there is none."""
    share = batch_size // devices
    found = [size for size in range(min(share, LARGEST_MICRO_BATCH), smallest - 1, -1) if share % size == 0]
    return tuple(found) or (share,)


def measure(
    demand: Demand,
    adapter: str,
    checkpointing: bool,
    micro_batch: int,
    sharding: str | None = None,
    packing: bool | None = None,
) -> Fitting:
    """What one way to run takes on each device, and how long."""
    sharding = sharding or demand.shardings[0]
    packing = demand.packing[0] if packing is None else packing
    memory = estimate(
        demand.shape,
        adapter=adapter,
        rank=demand.rank,
        targets=demand.targets,
        batch=micro_batch * demand.method.sequences,
        length=demand.length,
        checkpointing=checkpointing,
        dtype=demand.dtype,
        optimizer=demand.optimizer,
        accumulation=max(1, demand.batch_size // (micro_batch * demand.devices)),
        dropout=demand.dropout,
        masked=_masked(demand, micro_batch),
        device_kind=demand.device.kind,
        kind=demand.kind,
    )
    if sharding != "none":
        tokens = micro_batch * demand.method.sequences * demand.length
        inputs = ELEMENT_BYTES[demand.dtype] * demand.shape.layers * demand.shape.hidden * tokens
        memory = on_several(
            memory,
            demand.shape,
            sharding,
            demand.devices,
            adapter=adapter,
            dtype=demand.dtype,
            kept_bytes=inputs if checkpointing else None,
        )
    rows = demand.batch_size // demand.devices
    memory = demand.method.memory(memory, demand.shape, rows, demand.length, ELEMENT_BYTES[demand.dtype])
    way = Fitting(
        adapter, checkpointing, micro_batch, memory, fit(memory, demand.device), sharding, demand.devices, packing
    )
    return replace(way, seconds=step_seconds(demand, way))


def step_seconds(demand: Demand, way: Fitting) -> float | None:
    """Predicted seconds of an optimiser step: on the data's own lengths where they are known, else on full rows."""
    rates = demand.rates
    if rates is None:
        return None
    rows = way.micro_batch * demand.method.sequences
    tokens = float(rows * demand.length)
    if demand.rows:
        tokens = demand.rows.computed_tokens(rows, packed=way.packing)
    step = Step(
        demand.shape,
        way.adapter,
        demand.rank,
        demand.targets,
        demand.dtype,
        way.checkpointing,
        tokens=tokens,
        length=min(demand.length, tokens),
        masked=_masked(demand, way.micro_batch),
        fused_head=demand.device.kind in ("cuda", "rocm"),
    )
    pass_ = step.seconds(rates) * (1 + demand.method.extra_forwards / step.passes)
    if way.sharding == "fsdp2":  # the next layer arrives while one computes
        pass_ = max(pass_, gather_seconds(demand.shape, way.adapter, demand.dtype, way.devices, rates))
    passes = demand.batch_size / way.accumulates
    reduced = reduce_seconds(demand.gradients_bytes, way.devices, rates) if way.devices > 1 else 0.0
    element = ELEMENT_BYTES[demand.dtype]
    weights = sum(weight_bytes(demand.shape, way.adapter, demand.dtype))
    answers = demand.batch_size // way.devices
    return passes * pass_ + reduced + demand.method.sampling_seconds(demand.shape, rates, answers, weights, element)


def without_recomputation(demand: Demand, chosen: Fitting) -> Fitting | None:
    """The quickest way that fits as well as `chosen` with the same adapter and keeps its activations; None without."""
    if False not in demand.checkpointing:
        return None
    kept = replace(demand, checkpointing=(False,))
    ways = [way for way in _ways(kept, chosen.adapter) if way.fit in ("comfortable", chosen.fit)]
    return _packed(kept, quickest(ways)) if ways and chosen.fit != "does-not-fit" else None


def best(demand: Demand) -> Fitting:
    """The quickest way that fits comfortably, else tightly, else the smallest there is (which then does not fit).

    LoRA comes before QLoRA wherever it fits, whatever the time. Of ways that are predicted to take the same, or where
    nothing is predicted: no recomputation before recomputation, and the larger micro-batch.
    """
    tried = {adapter: list(_ways(demand, adapter)) for adapter in demand.adapters}
    for accepted in (("comfortable",), ("comfortable", "tight")):
        for adapter in demand.adapters:
            if found := [way for way in tried[adapter] if way.fit in accepted]:
                return _packed(demand, quickest(found))
    return smallest(demand)


def quickest(ways: Iterable[Fitting]) -> Fitting:
    """The way of the least predicted time; of equals the one without recomputation, without
    sharding, and with the largest micro-batch."""
    listed = list(ways)
    least = min((way.seconds for way in listed if way.seconds is not None), default=None)
    equal = [way for way in listed if least is None or way.seconds is None or way.seconds <= least * _EQUAL]
    return min(equal, key=lambda way: (way.checkpointing, way.sharding == "fsdp2", -way.micro_batch))


def smallest(demand: Demand) -> Fitting:
    """The way that takes the least memory, whether it fits or not."""
    ways = [
        measure(demand, adapter, flag, demand.micro_batches[-1], sharding)
        for adapter in demand.adapters
        for flag in demand.checkpointing
        for sharding in demand.shardings
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


def _ways(demand: Demand, adapter: str) -> Iterator[Fitting]:
    for sharding in demand.shardings:
        for flag in demand.checkpointing:
            for size in demand.micro_batches:
                yield measure(demand, adapter, flag, size, sharding)


def _packed(demand: Demand, way: Fitting) -> Fitting:
    """The way with its rows packed where that may be chosen and saves enough; memory is that of padded rows."""
    if True not in demand.packing or way.packing or way.micro_batch == 1:
        return way
    if packs_for_nothing(demand.device):
        packed = replace(way, packing=True)
        return replace(packed, seconds=step_seconds(demand, packed))
    if way.seconds is None or not demand.rows:
        return way
    packed = replace(way, packing=True)
    seconds = step_seconds(demand, packed)
    return replace(packed, seconds=seconds) if seconds and seconds < _PACKING_SAVES * way.seconds else way


def packs_for_nothing(device: Device) -> bool:
    """Whether packed rows cost no more than their own tokens: off CUDA they lie end to end and attention takes each by
    itself (`toolkit.training.layouts`), on CUDA they fill lines with a mask."""
    return device.kind not in ("cuda", "rocm")


def _masked(demand: Demand, micro_batch: int) -> bool:
    """Whether attention gets an explicit mask: rows of a micro-batch are padded, and only flash-attn does without."""
    several = micro_batch * demand.method.sequences > 1 or demand.method.sampled > 0  # prompts are padded on the left
    return demand.attention == "sdpa" and (several or demand.packing == (True,))
