"""Who trains on which rows."""

from __future__ import annotations

from itertools import zip_longest

import pytest

from toolkit.training.distributed.shares import Shares, WithBlank
from toolkit.training.distributed.team import Team
from toolkit.training.encoding import IGNORED


@pytest.mark.parametrize("rows", [1, 7, 16, 23])
@pytest.mark.parametrize("size", [2, 3])
def test_every_row_is_dealt_out_once_in_the_order_of_one_process(rows: int, size: int) -> None:
    batches = [list(range(begin, min(begin + 2, rows))) for begin in range(0, rows, 2)]
    shares = [list(Shares(batches, rank, size)) for rank in range(size)]
    assert {len(share) for share in shares} == {len(Shares(batches, 0, size))}  # nobody waits for nobody
    dealt = [batch for turn in zip_longest(*shares) for batch in turn if batch != [Shares.BLANK]]
    assert dealt == batches


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_batches_of_an_evaluation_are_dealt_out_once_and_to_all_equally_often(count: int) -> None:
    batches = [[number] for number in range(count)]
    shares = [list(Team(rank, 2).dealt(batches)) for rank in range(2)]
    assert len(shares[0]) == len(shares[1])
    assert sorted(batch for share in shares for batch, counts, _ in share if counts) == batches
    assert [done for _, _, done in shares[0]] == [min(2 * turn, count) for turn in range(1, -(-count // 2) + 1)]


def test_a_blank_row_counts_nothing() -> None:
    rows = WithBlank([{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}])
    blank, row = rows.__getitems__([Shares.BLANK, 0])
    assert set(blank["labels"]) == {IGNORED}
    assert len(blank["input_ids"]) == len(blank["labels"])
    assert row == {"input_ids": [5, 6, 7], "labels": [5, 6, 7]}
