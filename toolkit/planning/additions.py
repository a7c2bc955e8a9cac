"""What an adapter of a rarer kind makes beyond a plain one: DoRA's weighed matrices, copies for rows of new tokens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from toolkit.planning.adapter_kind import QUANTISED, AdapterKind
from toolkit.planning.architecture import Shape

_FIRST = ("q_proj", "k_proj", "v_proj", "q_a_proj", "kv_a_proj_with_mqa")  # one normalised input


@dataclass(frozen=True, slots=True)
class Additions:
    """Bytes by part of memory on top of the plain adapter's peak, and words on who answered."""

    parts: dict[str, int] = field(default_factory=dict)
    words: str = ""


def additions(
    shape: Shape,
    kind: AdapterKind,
    *,
    adapter: str,
    targets: Collection[str],
    rank: int,
    tokens: int,
    checkpointing: bool,
    element_bytes: int,
    device_kind: str,
) -> Additions:
    """Bytes at the widest moment, at most: what a DoRA matrix keeps is exact, what it makes for a while is taken as the
    widest for each. `tokens` are those of a micro-batch. Found by comparing traces, which a test repeats.
    """
    parts, words = {"activations": 0, "working_buffers": 0}, []
    if kind.dora:
        kept, passing = _dora(shape, targets, adapter, tokens, element_bytes)
        parts["activations"] += kept if checkpointing else kept * shape.layers
        parts["working_buffers"] += passing
        words.append("DoRA's matrices")
    if kind.new_tokens:
        parts["working_buffers"] += _rows(shape, kind, tokens, element_bytes, device_kind)
        words.append("copies for rows of new tokens")
    if adapter == "lora-8bit" and checkpointing:
        parts["activations"] += _inputs(shape, tokens, element_bytes)
        words.append("inputs that int8 products keep")
    return Additions(parts, f", {' and '.join(words)} added" if words else "")


def _dora(shape: Shape, targets: Collection[str], adapter: str, tokens: int, element_bytes: int) -> tuple[int, int]:
    """What the adapted matrices of a layer keep, and the most that one makes for a while (PEFT 0.21, lora/dora.py).

    Kept are the outputs of base and adapter, which the magnitudes multiply. For the norm, the adapter is multiplied with
    an identity matrix (in float32, and again in 16 bits) and added to the weight.
    """
    adapted = [matrix for matrix in shape.matrices if matrix.name in targets]
    kept = 2 * element_bytes * tokens * sum(matrix.fan_out * matrix.count for matrix in adapted) // shape.layers
    identity = 4 if element_bytes == 4 else 6
    dequantised = 4 if adapter in QUANTISED else 0
    passing = max(
        max(identity * matrix.fan_in + 4 * matrix.fan_out, 16 * matrix.fan_out) * matrix.fan_in
        + dequantised * matrix.fan_in * matrix.fan_out
        for matrix in adapted
    )
    widest = max(matrix.fan_out for matrix in adapted)
    return kept, passing + (5 * tokens * widest if element_bytes == 2 else 0)  # in 16 bits its sums are in float32


def _rows(shape: Shape, kind: AdapterKind, tokens: int, element_bytes: int, device_kind: str) -> int:
    """PEFT writes the rows into a copy of the matrix at each use: the embedding's dies at once, the head's lives until the
    loss has its gradient. On a GPU the loss is then ours, with larger tiles than TRL's."""
    copy = element_bytes * shape.vocab * shape.hidden
    tiles, hidden = 0, 4 * tokens * shape.hidden
    if device_kind in ("cuda", "rocm"):
        hidden *= 4
        ours = (8 + element_bytes) * min(shape.vocab * tokens, 2**26)
        tiles = ours - element_bytes * min(tokens, 4096) * min(shape.vocab, 32768)
    return copy + max(tiles, 0) + hidden + 4 * tokens * kind.new_tokens


def _inputs(shape: Shape, tokens: int, element_bytes: int) -> int:
    """Inputs of the matrices of all layers: an int8 product keeps its own past checkpointing's eyes (bitsandbytes 0.50,
    autograd/_functions.py: as an attribute of its context, where torch saves what recomputation may drop)."""
    widths = {}
    for matrix in shape.matrices:
        reader = matrix.name.rpartition(".")
        shared = {"up_proj": "gate_proj"}.get(reader[2], "q_proj" if reader[2] in _FIRST else reader[2])
        widths[reader[0], shared] = matrix.fan_in * matrix.count
    return element_bytes * tokens * sum(widths.values())
