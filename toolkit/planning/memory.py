"""Peak memory of a training step in closed form: what stays, plus the widest of a few moments.

`estimate` is exact arithmetic on a shape: weights, 4-bit state, adapter and optimiser to the byte, everything that
comes and goes by the forms of `toolkit.planning.forms`, which were read off traces of the very step that training
takes. For an architecture without forms the shape brings a tracer of its own, and the estimate says who answered.
Bytes are what the allocator hands out; `fit` adds what a device needs beyond them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from toolkit.errors import InvalidInput, Problem
from toolkit.planning.adapter_kind import PLAIN, QUANTISED, AdapterKind, trained_parameters
from toolkit.planning.additions import additions
from toolkit.planning.architecture import Matrix, Shape
from toolkit.planning.estimates import ADAPTER_BYTES, MemoryEstimate
from toolkit.planning.forms import FAMILIES, Products, Way, has_forms, moments_of, variables, way_of
from toolkit.planning.gpu import GIB, Device
from toolkit.planning.sums import summed_estimate

ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

# NF4 keeps half a byte per weight; double quantisation an 8-bit scale per 64 weights and a float32 per 256 scales.
# bitsandbytes 0.50 `quantize_4bit` with `bnb_4bit_use_double_quant`.
_NF4_BYTES = 0.5
_NF4_STATE_BYTES = 1 / 64 + 4 / (64 * 256)

# Adam keeps two float32 values per trained parameter; 8-bit states keep two bytes and a scale per block of 256; paged
# states live in the host's memory.
OPTIMIZER_BYTES = {
    "adamw_torch": 8.0,
    "adamw_torch_fused": 8.0,
    "adamw_8bit": 2.03,
    "adamw_bnb_8bit": 2.03,
    "paged_adamw_32bit": 0.0,
    "paged_adamw_8bit": 0.0,
    "sgd": 0.0,
}

CONTEXT_BYTES = GIB // 2  # CUDA context and cuBLAS workspaces: 0.4 to 0.6 GiB on A100 and H100, less on a T4

# In 27 public A100 runs with a fused loss nvidia-smi stood 11 % (at most 14 %) above the allocated peak; runs got by
# with 5 %, as cached blocks are released under pressure.
_COMFORTABLE, _TIGHT = 1.14, 1.05


@dataclass(frozen=True, slots=True)
class TracedShape(Shape):
    """The shape of a base that no form is known for, read off the model that transformers builds of it.

    `linear` are its matrices, `unadapted` those of them that get no adapter by default, `counted` its parameters, and
    `tracer` takes what `estimate` takes, as keywords.
    """

    linear: tuple[Matrix, ...] = ()
    unadapted: frozenset[str] = frozenset()
    counted: int = 0
    tracer: Callable[..., MemoryEstimate] = field(repr=False, kw_only=True)

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        return self.linear

    @property
    def parameters(self) -> int:
        return self.counted

    def linear_targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(matrix.name for matrix in self.linear if matrix.name not in self.unadapted))


def estimate(
    shape: Shape,
    *,
    adapter: str,
    rank: int,
    targets: Collection[str],
    batch: int,
    length: int,
    checkpointing: bool,
    dtype: str,
    loss: str = "chunked",
    optimizer: str = "adamw_torch",
    accumulation: int = 1,
    dropout: float = 0.0,
    masked: bool = False,
    device_kind: str = "cuda",
    kind: AdapterKind = PLAIN,
) -> MemoryEstimate:
    """Peak memory of training steps after the first (optimiser states exist) on one device.

    `adapter` is lora, lora-8bit (int8) or qlora (NF4 with double quantisation), its parameters in float32, and of a `kind`
    with DoRA or new tokens what these make is added to the plain adapter's peak; `batch` x `length` tokens form
    one micro-batch, `dtype` is that of base and activations. From `accumulation` 2 on, gradients outlive the backward
    pass. `masked` says that rows are padded or packed. A base that no form is known for is traced (`TracedShape`).
    Raises InvalidInput for a dtype, loss, adapter or optimizer that there is no form for.
    """
    _check(adapter, dtype, loss, optimizer)
    if isinstance(shape, TracedShape):
        return shape.tracer(
            adapter=adapter,
            rank=rank,
            targets=targets,
            batch=batch,
            length=length,
            checkpointing=checkpointing,
            dtype=dtype,
            loss=loss,
            optimizer=optimizer,
            accumulation=accumulation,
            dropout=dropout,
            masked=masked,
            device_kind=device_kind,
            kind=kind,
        )
    weights, state = weight_bytes(shape, adapter, dtype)
    windowed = shape.sliding_window is not None and length >= shape.sliding_window  # which needs a mask in any case
    way = way_of(
        shape,
        adapter="qlora" if adapter in QUANTISED else "lora",
        targets=targets,
        checkpointing=checkpointing,
        loss=loss,
        masked=masked or windowed,
        dtype=dtype,
        device_kind=device_kind,
        dropout=dropout > 0,
    )
    trained = ADAPTER_BYTES * trained_parameters(shape, rank, targets, kind)
    added = additions(
        shape,
        kind,
        adapter=adapter,
        targets=targets,
        rank=rank,
        tokens=batch * length,
        checkpointing=checkpointing,
        element_bytes=ELEMENT_BYTES[dtype],
        device_kind=device_kind,
    )
    if not has_forms(shape, way, targets):
        return summed_estimate(
            shape,
            (weights, state),
            adapter=way.adapter,
            rank=rank,
            targets=targets,
            batch=batch,
            length=length,
            checkpointing=checkpointing,
            element_bytes=ELEMENT_BYTES[dtype],
            loss=loss,
            optimizer_bytes=OPTIMIZER_BYTES[optimizer],
            foreach=optimizer == "adamw_torch",
            accumulation=accumulation,
            dropout=dropout,
            masked=masked,
            device_kind=device_kind,
            trained_bytes=trained,
            added=added,
        )
    values = variables(shape, rank=rank, batch=batch, length=length, element_bytes=ELEMENT_BYTES[dtype])
    moment, parts = _widest(shape, way, Products(values), trained, accumulation > 1)
    parts = {name: parts.get(name, 0) + added.parts.get(name, 0) for name in (*parts, *added.parts)}
    # On a GPU AdamW updates all parameters at once, by way of one temporary copy.
    copy = trained if optimizer == "adamw_torch" and device_kind != "cpu" else 0
    if sum(parts.values()) < trained + copy:
        moment, parts = "optimiser step", {"gradients": trained, "working_buffers": copy}
    every = {
        "base_weights": weights,
        "quantisation_state": state,
        "adapter": trained,
        "gradients": parts["gradients"],
        "optimizer": int(OPTIMIZER_BYTES[optimizer] / ADAPTER_BYTES * trained),
        "activations": parts.get("activations", 0),
        "logits_and_loss": parts.get("logits_and_loss", 0),
        "working_buffers": parts["working_buffers"],
    }
    every = {name: size for name, size in every.items() if size}
    exact = way.has_targets(shape, targets)
    answered_by = "closed form" if exact else "closed form of a larger set of adapted matrices"
    return MemoryEstimate(sum(every.values()), moment, every, answered_by + added.words)


def _widest(shape: Shape, way: Way, products: Products, trained: int, held: bool) -> tuple[str, dict[str, int]]:
    """The widest moment between the start of the forward and the end of the backward pass, and its parts in bytes.

    `trained` bytes of gradients are there from the start where they are `held` from earlier micro-batches.
    """
    # The forms are those of two layers, one of each kind, and of what further ones add.
    first = shape.dense_layers - 1 if FAMILIES[way.family].leading else 0
    last = shape.layers - 2 - first
    widest, name = {"gradients": 0, "working_buffers": 0}, ""
    for form in moments_of(way):
        parts = {part: int(size) for part, size in form.bytes_by_part(products, last, first).items()}
        parts["gradients"] = trained if held else min(parts["gradients"], trained)
        if sum(parts.values()) > sum(widest.values()):
            widest, name = parts, form.name
    return name, widest


def fit(estimate: MemoryEstimate, device: Device) -> str:
    """Whether the estimate fits a device: `comfortable`, `tight` (set expandable_segments) or `does-not-fit`."""
    for verdict, factor in (("comfortable", _COMFORTABLE), ("tight", _TIGHT)):
        if estimate.peak_bytes * factor + context_bytes(device) <= device.usable_bytes:
            return verdict
    return "does-not-fit"


def needed_bytes(estimate: MemoryEstimate, device: Device) -> int:
    """Usable memory at which the estimate fits comfortably on such a device."""
    return int(estimate.peak_bytes * _COMFORTABLE) + context_bytes(device)


def context_bytes(device: Device) -> int:
    """What the driver's context takes of a device before the first tensor; nothing on a CPU or in unified memory."""
    return CONTEXT_BYTES if device.kind in ("cuda", "rocm", "npu") else 0


def weight_bytes(shape: Shape, adapter: str, dtype: str) -> tuple[int, int]:
    """Bytes of the base's weights and of their quantisation state.

    A quantised base keeps embeddings, head, norms and routers in `dtype`. Routed experts are quantised while the base is
    read, but not where it is stored in 4 bits: what bitsandbytes' modules left alone then stays as it is.
    """
    element = ELEMENT_BYTES[dtype]
    if adapter == "lora":
        return element * shape.parameters, 0
    if adapter == "lora-8bit":  # a byte a weight and a float32 scale for each output; routed experts stay as they are
        rows = sum(matrix.fan_out * matrix.count for matrix in shape.matrices)
        return element * (shape.parameters - shape.linear_parameters) + shape.linear_parameters, 4 * rows
    quantised = shape.linear_parameters + (shape.fused_expert_parameters if shape.quantization is None else 0)
    plain = element * (shape.parameters - quantised)
    return plain + int(_NF4_BYTES * quantised), int(_NF4_STATE_BYTES * quantised)


def _check(adapter: str, dtype: str, loss: str, optimizer: str) -> None:
    known = {
        "adapter": (adapter, ("lora", *QUANTISED)),
        "dtype": (dtype, tuple(ELEMENT_BYTES)),
        "loss": (loss, ("chunked", "logits")),
        "optimizer": (optimizer, tuple(OPTIMIZER_BYTES)),
    }
    problems = [
        Problem(name, f"{value!r} has no memory form; known are {', '.join(values)}")
        for name, (value, values) in known.items()
        if value not in values
    ]
    if problems:
        raise InvalidInput(problems)
