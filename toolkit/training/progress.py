"""What training says while it runs: values, which the command line turns into words and bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

STAGES = ("data", "base", "before", "train", "after", "record")


@dataclass(frozen=True, slots=True)
class Event:
    """Where a run stands. `done` of `total` steps where they are counted; `values` such as loss and learning_rate."""

    stage: str
    message: str
    done: int | None = None
    total: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)


Progress = Callable[[Event], None]


def silent(_: Event) -> None:
    """For callers that do not watch."""
