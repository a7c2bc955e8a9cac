"""A weight is a share of an epoch's examples; nothing is left out and the shorter source is repeated."""

from __future__ import annotations

from collections import Counter

import pytest

from toolkit.planning.mixing import epoch_examples, repeated


@pytest.mark.parametrize(
    ("rows", "weights", "examples"),
    [
        ((10, 5), (None, None), (10, 5)),
        ((100, 10), (1, 1), (100, 100)),
        ((100, 10), (9, 1), (100, 11)),
        ((10, 100), (3, 1), (300, 100)),
        ((50, 50, 50), (0.5, 0.25, 0.25), (100, 50, 50)),
    ],
)
def test_an_epoch_shows_every_row_and_keeps_the_shares(rows, weights, examples):
    assert epoch_examples(rows, weights) == examples


def test_repeats_are_even_and_depend_on_the_key_alone():
    chosen = repeated(10, 25, "42/a.jsonl")
    counts = Counter(chosen)
    assert set(counts.values()) == {2, 3}
    assert sum(counts.values()) == 25
    assert chosen == repeated(10, 25, "42/a.jsonl") != repeated(10, 25, "43/a.jsonl")
