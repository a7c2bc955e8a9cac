"""What an estimate of memory is, whoever makes it: the forms, the sums for mixtures, or a trace."""

from __future__ import annotations

from dataclasses import dataclass

ADAPTER_BYTES = 4  # adapters, their gradients and Adam's two states are held in float32


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak of one step in bytes, the moment it occurs, its parts, which add up to it, and who answered."""

    peak_bytes: int
    moment: str
    parts: dict[str, int]
    answered_by: str = "closed form"
