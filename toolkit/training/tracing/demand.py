"""A step described as `toolkit.planning.memory.estimate` takes it, as settings that training understands."""

from __future__ import annotations

from collections.abc import Collection

from toolkit.planning.adapter_kind import PLAIN, AdapterKind
from toolkit.training.settings import Settings


def settings_for(
    *,
    adapter: str,
    rank: int,
    targets: Collection[str],
    batch: int,
    length: int,
    checkpointing: bool,
    dtype: str,
    optimizer: str = "adamw_torch",
    accumulation: int = 1,
    dropout: float = 0.0,
    device_kind: str = "cuda",
    kind: AdapterKind = PLAIN,
    init: str = "default",
    **others: object,
) -> Settings:
    """Settings whose step has this size; what no size depends on has any value. `others` concern the trace alone."""
    return Settings(
        adapter=adapter,
        targets=tuple(targets),
        rank=rank,
        alpha=rank,
        dropout=dropout,
        dtype=dtype,
        device=device_kind,
        attention="sdpa",
        optimizer=optimizer,
        learning_rate=1e-4,
        scheduler="constant",
        warmup=0.0,
        weight_decay=0.0,
        epochs=1.0,
        max_steps=None,
        micro_batch_size=batch,
        accumulation=accumulation,
        max_length=length,
        packing=False,
        checkpointing=checkpointing,
        seed=0,
        dora=kind.dora,
        init=init,
        new_tokens=tuple(f"<new {number}>" for number in range(kind.new_tokens)),
    )
