"""Mixing sources of training data by weight: how many examples of each an epoch has.

A weight is a share of an epoch's examples, relative to the other weights. An epoch is as long as it takes for every row
of every source to be seen: the source that has most rows for its share is seen exactly once, and each of the others is
repeated until it fills its share. Nothing is left out. Without weights every row is seen once an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


def epoch_examples(rows: Sequence[int], weights: Sequence[float | None]) -> tuple[int, ...]:
    """Examples of each source in an epoch, from its number of rows and its weight (all of them given, or none).

    With shares s = weight / sum of weights, an epoch has max(rows / s) examples, of which each source gets its share s.
    """
    given = [weight for weight in weights if weight is not None]
    if len(given) < len(rows):
        return tuple(rows)
    shares = [weight / sum(given) for weight in given]
    length = max(count / share for count, share in zip(rows, shares, strict=True))
    return tuple(max(count, round(length * share)) for count, share in zip(rows, shares, strict=True))


def repeated(rows: int, wanted: int, key: str) -> list[int]:
    """Indices of `rows` rows so that `wanted` are seen: each equally often, or once more where it does not divide.

    Which rows are seen once more depends on `key` alone (a seed and the name of the source), so that adding another
    source changes nothing about this one.
    """
    if rows == 0:
        return []
    times, rest = divmod(wanted, rows)
    more = set(Random(key).sample(range(rows), rest))
    return [index for index in range(rows) for _ in range(times + (index in more))]
