"""Who trains on which rows."""

from __future__ import annotations

from itertools import zip_longest

import pytest

from toolkit.training.distributed.shares import Shares, WithBlank
from toolkit.training.encoding import IGNORED


@pytest.mark.parametrize("rows", [1, 7, 16, 23])
@pytest.mark.parametrize("size", [2, 3])
def test_every_row_is_dealt_out_once_in_the_order_of_one_process(rows: int, size: int) -> None:
    batches = [list(range(begin, min(begin + 2, rows))) for begin in range(0, rows, 2)]
    shares = [list(Shares(batches, rank, size)) for rank in range(size)]
    assert {len(share) for share in shares} == {len(Shares(batches, 0, size))}  # nobody waits for nobody
    dealt = [batch for turn in zip_longest(*shares) for batch in turn if batch != [Shares.BLANK]]
    assert dealt == batches


def test_a_blank_row_counts_nothing() -> None:
    rows = WithBlank([{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}])
    blank, row = rows.__getitems__([Shares.BLANK, 0])
    assert set(blank["labels"]) == {IGNORED}
    assert len(blank["input_ids"]) == len(blank["labels"])
    assert row == {"input_ids": [5, 6, 7], "labels": [5, 6, 7]}
