"""What an adapter of a rarer kind makes beyond a plain one: DoRA's weighed matrices, copies for rows of new tokens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from toolkit.planning.adapter_kind import AdapterKind
from toolkit.planning.architecture import Shape


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
    return Additions()
