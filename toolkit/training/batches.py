"""Micro-batches as tensors: rows padded to one length, packed into lines, or end to end in a single one.

Packing here keeps to the rows of one micro-batch, so that an optimiser step sees exactly `batch_size` examples and the
memory is never more than that of the padded micro-batch; TRL's packing fills rows of `max_length` from the whole data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from toolkit.training.encoding import IGNORED

if TYPE_CHECKING:
    from torch import Tensor

TokenRow = Mapping[str, Sequence[int]]  # input_ids and labels


class Collator(Protocol):
    """Rows of tokens as the tensors of a micro-batch."""

    def __call__(self, rows: Sequence[TokenRow]) -> dict[str, Tensor]:
        """`input_ids`, `labels` and what keeps rows apart, all of one shape (lines, tokens)."""

    def order(self, rows: Sequence[TokenRow]) -> list[int]:
        """Indices of the rows as they follow each other in the tensors."""


class PackedCollator:
    """Rows end to end in as few lines as best-fit decreasing needs, each line as long as the longest row.

    Gives `input_ids`, `labels` and `position_ids`, all (lines, longest). Position ids start over at every row; without
    an attention mask transformers then keeps attention inside each row (`masking_utils.py`, packed detection).
    """

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: Sequence[TokenRow]) -> dict[str, Tensor]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        ids, labels, positions = [], [], []
        for line in _lines(rows):
            used = [rows[index] for index in line]
            gap = longest - sum(len(row["input_ids"]) for row in used)
            ids.append([token for row in used for token in row["input_ids"]] + [self._pad] * gap)
            # The first token of a row has no predecessor of its own.
            labels.append([label for row in used for label in [IGNORED, *row["labels"][1:]]] + [IGNORED] * gap)
            positions.append([place for row in used for place in range(len(row["input_ids"]))] + [*range(gap)])
        return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels), "position_ids": torch.tensor(positions)}

    def order(self, rows: Sequence[TokenRow]) -> list[int]:
        return [index for line in _lines(rows) for index in line]


class FlatCollator:
    """Rows end to end in one line without any padding: `input_ids`, `labels`, `position_ids`, all (1, tokens).

    For attention that takes each row by itself (`row_attention`); position ids start over at every row.
    """

    def __call__(self, rows: Sequence[TokenRow]) -> dict[str, Tensor]:
        import torch

        ids = [token for row in rows for token in row["input_ids"]]
        labels = [label for row in rows for label in [IGNORED, *row["labels"][1:]]]
        positions = [place for row in rows for place in range(len(row["input_ids"]))]
        return {
            "input_ids": torch.tensor([ids]),
            "labels": torch.tensor([labels]),
            "position_ids": torch.tensor([positions]),
        }

    def order(self, rows: Sequence[TokenRow]) -> list[int]:
        return list(range(len(rows)))


class PaddedCollator:
    """Rows padded on the right to the longest: `input_ids`, `labels` and `attention_mask`, all (rows, longest)."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: Sequence[TokenRow]) -> dict[str, Tensor]:
        return {
            "input_ids": pad_right([row["input_ids"] for row in rows], self._pad),
            "labels": pad_right([row["labels"] for row in rows], IGNORED),
            "attention_mask": pad_right([[1] * len(row["input_ids"]) for row in rows], 0),
        }

    def order(self, rows: Sequence[TokenRow]) -> list[int]:
        return list(range(len(rows)))


def _lines(rows: Sequence[TokenRow]) -> list[list[int]]:
    """Indices of rows by the line they share, each as long as the longest row."""
    lengths = [len(row["input_ids"]) for row in rows]
    return bins(lengths, max(lengths))


def bins(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices of `lengths` in bins of at most `size`: best-fit decreasing, deterministic."""
    filled: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        fitting = [place for place, left in enumerate(room) if left >= lengths[index]]
        if fitting:
            place = min(fitting, key=lambda place: room[place])
            filled[place].append(index)
            room[place] -= lengths[index]
        else:
            filled.append([index])
            room.append(size - lengths[index])
    return filled


def like_lengths(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Indices in batches of like length, each of at most `tokens` once padded, and of one row where that is longer."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def pad_right(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Rows of numbers as one tensor (rows, longest), filled up with `value`."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
