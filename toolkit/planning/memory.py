"""Peak memory of a LoRA or QLoRA step in closed form: what stays, plus the widest of a few moments.

`estimate` is exact arithmetic on a shape: weights, 4-bit state, adapter and optimiser to the byte, activations by the
forms in `toolkit.planning.activations` and `moments`. It models transformers 5 with PEFT 0.21, attention through SDPA and a
language-model head whose loss is formed in tiles (`chunked`) or on whole logits.
Bytes are what the allocator hands out; `fit` adds what a device needs beyond them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from toolkit.errors import InvalidInput, Problem
from toolkit.planning.activations import Setting
from toolkit.planning.architecture import Shape
from toolkit.planning.gpu import GIB, Device
from toolkit.planning.moments import Moment, step_moments

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
class MemoryEstimate:
    """Peak of one step in bytes, the moment it occurs, its parts, which add up to it, and who answered."""

    peak_bytes: int
    moment: str
    parts: dict[str, int]
    answered_by: str = "closed form"


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
    adapter_dtype: str = "float32",
    loss: str = "chunked",
    optimizer: str = "adamw_torch",
    accumulation: int = 1,
    dropout: float = 0.0,
    masked: bool = False,
    device_kind: str = "cuda",
) -> MemoryEstimate:
    """Peak memory of training steps after the first (optimiser states exist) on one device.

    `adapter` is lora or qlora (NF4 with double quantisation), `batch` x `length` tokens form one micro-batch, `dtype`
    is that of base and activations. From `accumulation` 2 on, gradients outlive the backward pass. `masked` says that
    rows are padded or packed. Raises InvalidInput for a dtype, loss, adapter or optimizer that it has no form for.
    """
    _check(adapter, dtype, adapter_dtype, loss, optimizer)
    element, own = ELEMENT_BYTES[dtype], ELEMENT_BYTES[adapter_dtype]
    tokens = batch * length
    mask_bytes = 4 if device_kind == "cpu" else 1  # a CPU's dropout mask has the format of its input
    setting = Setting(
        targets=targets,
        rank=rank,
        tokens=tokens,
        length=length,
        element_bytes=element,
        own_copies=_own_copies(adapter, dtype, adapter_dtype, device_kind),
        dropout_mask_bytes=mask_bytes if dropout else 0,
        masked=masked,
        exact_math=device_kind == "cpu" and shape.latent is not None,
    )
    trained = shape.adapter_parameters(rank, targets)
    gradients = own * trained
    foreach = gradients if optimizer == "adamw_torch" else 0  # its one temporary copy of what it updates
    peak = max(
        Moment("optimiser step", working_buffers=foreach, gradients=0 if accumulation > 1 else gradients),
        *step_moments(shape, setting, adapter=adapter, checkpointing=checkpointing, loss=loss),
        key=lambda moment: moment.total,
    )
    attention_mask = element * length * tokens if masked and peak.activations else 0
    cast = element * trained if dtype != adapter_dtype and not checkpointing and peak.activations else 0
    weights, state = weight_bytes(shape, adapter, dtype)
    # Adam's states have the format of what they belong to; the 8-bit ones do not care.
    factor = OPTIMIZER_BYTES[optimizer] * (own / 4 if optimizer.startswith("adamw_torch") else 1)
    parts = {
        "base_weights": weights,
        "quantisation_state": state,
        "adapter": own * trained,
        "gradients": peak.gradients + (gradients if accumulation > 1 else 0),
        "optimizer": int(factor * trained),
        "activations": peak.activations,
        "logits_and_loss": peak.logits_and_loss,
        "working_buffers": peak.working_buffers + attention_mask + cast,  # `cast`: autocast's 16-bit adapter
    }
    parts = {name: size for name, size in parts.items() if size}
    return MemoryEstimate(sum(parts.values()), peak.name, parts)


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

    A QLoRA base keeps embeddings, head, norms, routers and the fused experts of a mixture in `dtype`: bitsandbytes
    quantises `nn.Linear` alone.
    """
    element = ELEMENT_BYTES[dtype]
    if adapter == "lora":
        return element * shape.parameters, 0
    quantised = shape.linear_parameters
    plain = element * (shape.parameters - quantised)
    return plain + int(_NF4_BYTES * quantised), int(_NF4_STATE_BYTES * quantised)


def _own_copies(adapter: str, dtype: str, adapter_dtype: str, device_kind: str) -> bool:
    """Whether each adapted matrix keeps a copy of its input for itself (see `toolkit.planning.activations`)."""
    if dtype == adapter_dtype:
        return False
    return adapter == "lora" or device_kind not in ("cuda", "rocm")


def _check(adapter: str, dtype: str, adapter_dtype: str, loss: str, optimizer: str) -> None:
    known = {
        "adapter": (adapter, ("lora", "qlora")),
        "dtype": (dtype, tuple(ELEMENT_BYTES)),
        "adapter_dtype": (adapter_dtype, tuple(ELEMENT_BYTES)),
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
