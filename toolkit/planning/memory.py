"""Peak memory of a LoRA or QLoRA step in closed form: what stays, plus the widest of a few moments.

`estimate` is exact arithmetic on a shape: weights, 4-bit state, adapter and optimiser to the byte, activations by the
forms in `toolkit.planning.activations`. It models transformers 5 with PEFT 0.21, attention through SDPA, no dropout on
adapters, and a language-model head whose loss is formed in tiles (`chunked`) or on whole logits.
Bytes are what the allocator hands out; `fit` adds what a device needs beyond them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from toolkit.errors import InvalidInput, Problem
from toolkit.planning.activations import LayerBytes, Setting, layer_bytes
from toolkit.planning.architecture import Shape
from toolkit.planning.gpu import GIB, Device

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

# `toolkit.training.losses` holds at most 2^26 logits at a time in float32, and `logsumexp` as much again.
_TILE_LOGITS, _TILE_LOGIT_BYTES = 2**26, 8

CONTEXT_BYTES = GIB // 2  # CUDA context and cuBLAS workspaces: 0.4 to 0.6 GiB on A100 and H100, less on a T4

# In 27 public A100 runs with a fused loss nvidia-smi stood 11 % (at most 14 %) above the allocated peak; runs got by
# with 5 %, as cached blocks are released under pressure.
_COMFORTABLE, _TIGHT = 1.14, 1.05


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak of one step in bytes, the moment it occurs, and its parts, which add up to it."""

    peak_bytes: int
    moment: str
    parts: dict[str, int]


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
    element = ELEMENT_BYTES[dtype]
    tokens = batch * length
    setting = Setting(
        targets=targets,
        rank=rank,
        tokens=tokens,
        length=length,
        element_bytes=element,
        own_copies=_own_copies(adapter, dtype, adapter_dtype, device_kind),
        dropout=dropout > 0,
        masked=masked,
        exact_math=device_kind == "cpu" and shape.latent is not None,
    )
    held = _held(shape, adapter, rank, targets, dtype, adapter_dtype, optimizer, gradients_stay=accumulation > 1)
    trained = shape.adapter_parameters(rank, targets)
    mask = element * length * tokens if masked else 0

    dense = layer_bytes(shape, setting, sparse=False) if shape.dense_layers else None
    sparse = layer_bytes(shape, setting, sparse=True) if shape.dense_layers < shape.layers else None
    kinds = [layer for layer in (dense, sparse) if layer is not None]
    if checkpointing:
        before = element * shape.layers * shape.hidden * tokens  # the layers' inputs; each layer is computed again
        adapter_copies = 0
    else:
        before = (dense.kept if dense else 0) * shape.dense_layers
        before += (sparse.kept if sparse else 0) * (shape.layers - shape.dense_layers)
        adapter_copies = element * trained if dtype != adapter_dtype else 0  # autocast's 16-bit weights

    moments: dict[str, dict[str, int]] = {}
    for layer in kinds:
        # In float32 the norm keeps the layer's input itself, which is the checkpoint that `before` has counted.
        again = layer.kept - (4 * shape.hidden * tokens if element == 4 else 0) if checkpointing else 0
        for name, activations, buffers in _backward_moments(shape, setting, layer, adapter, element):
            if name.startswith("attention") and not checkpointing:
                activations -= layer.kept  # the layer's own share of `before` is being given back
            elif name.startswith("MLP"):
                activations += again
            moment = {"activations": before + max(activations, 0), "working_buffers": mask + adapter_copies + buffers}
            moments[name] = _larger(moments.get(name), moment)
    moments.update(_head_moments(shape, tokens, element, before, checkpointing, loss, mask + adapter_copies))
    gradients = ELEMENT_BYTES[adapter_dtype] * trained
    foreach = gradients if optimizer == "adamw_torch" else 0  # its one temporary copy of the trained parameters
    moments["optimiser step"] = {"working_buffers": foreach, "gradients": gradients}

    name = max(moments, key=lambda name: sum((held | moments[name]).values()))
    parts = {part: size for part, size in (held | moments[name]).items() if size}
    return MemoryEstimate(sum(parts.values()), name, parts)


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


def _held(
    shape: Shape,
    adapter: str,
    rank: int,
    targets: Collection[str],
    dtype: str,
    adapter_dtype: str,
    optimizer: str,
    gradients_stay: bool,
) -> dict[str, int]:
    """What is there through the whole step."""
    weights, state = weight_bytes(shape, adapter, dtype)
    trained = shape.adapter_parameters(rank, targets)
    own = ELEMENT_BYTES[adapter_dtype]
    # Adam's states have the format of what they belong to; the 8-bit ones do not care.
    factor = OPTIMIZER_BYTES[optimizer] * (own / 4 if optimizer.startswith("adamw_torch") else 1)
    return {
        "base_weights": weights,
        "quantisation_state": state,
        "adapter": own * trained,
        "gradients": own * trained if gradients_stay else 0,
        "optimizer": int(factor * trained),
    }


def _backward_moments(
    shape: Shape, setting: Setting, layer: LayerBytes, adapter: str, element: int
) -> list[tuple[str, int, int]]:
    """Moments of one layer's backward pass: name, activation bytes, buffer bytes.

    The MLP's are on top of what the layer keeps; the attention's stands alone, as the MLP's share is gone by then.
    """
    tokens, hidden, width = setting.tokens, shape.hidden, shape.intermediate
    moments = [
        ("MLP backward of the last layer", layer.mlp_backward, 0),
        ("attention backward of the last layer", layer.attention_backward, 0),
    ]
    if not shape.dense_layers or layer.mlp_backward < 0:
        return moments
    if setting.own_copies:
        # With a narrow MLP the residual stream and its gradient are widest once the MLP's tensors are gone.
        moments.append(("MLP input backward of the last layer", tokens * (18 * hidden - 8 * width), 0))
    if adapter == "qlora" and shape.experts is None:
        matrix = element * hidden * width  # one dequantised matrix, then also its float32 scales
        scales = hidden * width // 8
        moments += [
            ("MLP backward of the last layer, weights dequantised", element * tokens * (hidden + width), matrix),
            ("MLP input backward of the last layer, weights dequantised", 8 * tokens * hidden, matrix + scales),
            ("MLP input backward of the last layer", tokens * (20 * hidden - 8 * width), 0),
        ]
    return moments


def _head_moments(
    shape: Shape, tokens: int, element: int, before: int, checkpointing: bool, loss: str, buffers: int
) -> dict[str, dict[str, int]]:
    """The moments around the language-model head: final norm, hidden states, their gradient, logits or one tile."""
    hidden, vocab = shape.hidden, shape.vocab
    if loss == "logits":
        moments = {
            "loss on the logits, forward": (6 * hidden * tokens, 10 * vocab * tokens),
            "loss on the logits, backward": (4 * hidden * tokens, 12 * vocab * tokens),
        }
    else:
        tile = _TILE_LOGIT_BYTES * min(vocab * tokens, _TILE_LOGITS)
        # The final norm's float32 input, then hidden states, those that count, and their gradient.
        around = (8 if checkpointing else 4) + 2 * element
        moments = {"loss, one tile of the logits": (around * hidden * tokens, tile)}
        if not checkpointing:
            moments["final norm backward"] = (20 * hidden * tokens, 0)
    return {
        name: {"activations": before + activations, "logits_and_loss": logits, "working_buffers": buffers}
        for name, (activations, logits) in moments.items()
    }


def _own_copies(adapter: str, dtype: str, adapter_dtype: str, device_kind: str) -> bool:
    """Whether each adapted matrix keeps a copy of its input for itself (see `toolkit.planning.activations`)."""
    if dtype == adapter_dtype:
        return False
    return adapter == "lora" or device_kind not in ("cuda", "rocm")


def _larger(one: dict[str, int] | None, other: dict[str, int]) -> dict[str, int]:
    return other if one is None or sum(other.values()) > sum(one.values()) else one


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
