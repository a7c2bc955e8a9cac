"""A step on several devices: FSDP2 (parameters sharded, gathered layer by layer) or DDP (a copy on each).

Source: torch 2.13 `fully_shard` applied to every decoder layer and then to the whole, as accelerate 1.15 does
(`fsdp2_prepare_model`); which buffers live together was read off the allocator's events. In the forward pass three
layers' parameters exist at once (the layer's own, its flat buffer and the one before, freed once the copy is out), in
the backward pass two (the layer's own and the next one's flat buffer). What no layer owns (embeddings, head, last norm)
is whole from the head's backward pass to the end. The constants of a 4-bit base are no parameters, so every device
holds them all; its weights are sharded only where they are stored as bfloat16 (`bnb_4bit_quant_storage`).
"""

from __future__ import annotations

from dataclasses import replace

from toolkit.planning.architecture import Shape
from toolkit.planning.estimates import MemoryEstimate
from toolkit.planning.memory import ELEMENT_BYTES, weight_bytes

SHARDINGS = ("none", "ddp", "fsdp2")
_SHARDED = ("base_weights", "adapter", "gradients", "optimizer")


def on_several(
    estimate: MemoryEstimate,
    shape: Shape,
    sharding: str,
    devices: int,
    *,
    adapter: str,
    dtype: str,
    kept_bytes: int | None,
) -> MemoryEstimate:
    """What each of `devices` devices holds of a step that takes `estimate` on one, its micro-batch being the same.

    `kept_bytes` are the activations at the end of the forward pass: with checkpointing every layer's input; None where
    they are those at the peak.
    """
    parts = dict(estimate.parts)
    if sharding == "ddp":
        # Buckets: a copy of every gradient, filled and reduced while the backward pass runs.
        parts["communication_buffers"] = parts.get("adapter", 0)
    elif sharding == "fsdp2":
        whole = parts.get("adapter", 0)
        for name in _SHARDED:
            if name in parts:
                parts[name] = -(-parts[name] // devices)
        outside, layer = gathered_bytes(shape, adapter, dtype, whole)
        kept = parts.get("activations", 0) if kept_bytes is None else kept_bytes
        logits = parts.get("logits_and_loss", 0)  # no layer is gathered while they exist
        moving = parts.get("activations", 0) + parts.get("working_buffers", 0) + logits
        forward = 3 * layer + kept * (shape.layers - 1) // shape.layers - moving  # at the start of the last layer
        parts["communication_buffers"] = outside + max(2 * layer - logits, forward, 0)
    parts = {name: size for name, size in parts.items() if size}
    return replace(estimate, peak_bytes=sum(parts.values()), parts=parts)


def gathered_bytes(shape: Shape, adapter: str, dtype: str, adapter_bytes: int) -> tuple[int, int]:
    """Bytes of what no layer owns, and of the parameters of the largest layer with its part of the adapter."""
    outside = ELEMENT_BYTES[dtype] * (shape.embedding_parameters + shape.hidden)
    inside = weight_bytes(shape, adapter, dtype)[0] - outside
    return outside, int(_largest_share(shape) * inside + adapter_bytes / shape.layers)


def _largest_share(shape: Shape) -> float:
    """The largest layer as a share of all layers. In a mixture a sparse layer is many times a plain one."""
    sparse = shape.layers - shape.dense_layers
    if not sparse or shape.experts is None:
        return 1 / shape.layers
    attention = sum(matrix.weights for matrix in shape.matrices if "." not in matrix.name) / shape.layers
    plain = attention + 3 * shape.hidden * shape.intermediate
    one = attention + 3 * shape.hidden * shape.experts.intermediate * (shape.experts.count + shape.experts.shared)
    return max(one, plain) / (one * sparse + plain * shape.dense_layers)
