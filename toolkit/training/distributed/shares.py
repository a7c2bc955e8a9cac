"""Who trains on which rows: every optimiser step sees the rows that it would see in one process.

Micro-batches are dealt out in turn. accelerate fills the last step of an epoch up with rows from its beginning
(1.15, `BatchSamplerShard`), which then count twice; here a process that gets nothing computes a blank row, without
which the others would wait for it in vain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from toolkit.training.encoding import IGNORED


class Shares:
    """The micro-batches (indices) of one of `size` processes, out of those of all. A blank one is `[BLANK]`."""

    BLANK = -1

    def __init__(self, batches: Any, rank: int, size: int) -> None:
        self._batches, self._rank, self._size = batches, rank, size

    def __len__(self) -> int:
        return -(-len(self._batches) // self._size)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle as in `epoch`; the trainer calls this, also through the sampler that skips on a resume."""
        self._batches.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        turn: list[list[int]] = []
        for batch in self._batches:
            turn.append(batch)
            if len(turn) == self._size:
                yield turn[self._rank]
                turn = []
        if turn:
            yield turn[self._rank] if self._rank < len(turn) else [self.BLANK]


class WithBlank:
    """Rows of token ids and labels, and under the index `Shares.BLANK` one that counts nothing."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, list[int]]]:
        return [self[index] for index in indices]

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        if index != Shares.BLANK:
            return dict(self._rows[index])
        return {"input_ids": self._rows[0]["input_ids"][:1] * 2, "labels": [IGNORED, IGNORED]}
