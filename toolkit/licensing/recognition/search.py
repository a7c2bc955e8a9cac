"""Where in a text a licence may stand: the sampled word sequences of every licence, looked up in the text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from toolkit.licensing.recognition.prints import SHINGLE, Sketch, shingles_of

Hit = tuple[int, int]  # the word at which a shingle stands, and which one of the sketch it is
_MOST_COPIES = 200  # of one licence in one text
_SHARE = 0.15  # of a sketch's shingles, at least, must stand in one place


class Place(NamedTuple):
    """Words `first` … `last` of the text may be the licence; most of its shingles stand from `hits_first` to
    `hits_last`. `share`: of its shingles that were found; `words`: about how many of its words that is."""

    id: str
    first: int
    last: int
    hits_first: int
    hits_last: int
    share: float
    words: float

    @property
    def reach(self) -> int:
        """How many words its hits span."""
        return self.hits_last - self.hits_first


def places(words: list[str], sketches: Iterable[Sketch]) -> list[Place]:
    """The places where licences may stand, those that explain most words first."""
    where: dict[int, list[int]] = {}
    for at, shingle in enumerate(shingles_of(words)):
        where.setdefault(shingle, []).append(at)
    found: list[Place] = []
    for sketch in sketches:
        hits = [
            (at, order)
            for order, shingle in enumerate(sketch.shingles)
            if shingle in where
            for at in where[shingle][:200]
        ]
        if len(hits) < max(2, _SHARE * len(sketch.shingles)):
            continue
        hits.sort()
        scale = sketch.words / len(sketch.shingles)
        slack = 80 + 0.15 * sketch.words
        for copy, core in _copies(hits, sketch):
            orders = {order for _, order in copy}
            share = len(orders) / len(sketch.shingles)
            if share < _SHARE or len(orders) < 2:
                continue
            first = max(0, int(copy[0][0] - min(orders) * scale - slack))
            last = min(len(words), int(copy[-1][0] + (len(sketch.shingles) - 1 - max(orders)) * scale + slack))
            found.append(Place(sketch.id, first, last, core[0][0], core[-1][0] + SHINGLE, share, share * sketch.words))
    return sorted(found, key=lambda place: (-place.words, place.id))


def _copies(hits: list[Hit], sketch: Sketch) -> list[tuple[list[Hit], list[Hit]]]:
    """The hits of each copy of a licence in the text, the fullest copy first; and those of them that stand densest."""
    distinct = len({order for _, order in hits})
    if len(hits) <= 1.6 * distinct:
        first, last = _fullest(hits, int(1.15 * sketch.words) + 60)
        core = hits[first:last]
        reach = 0.5 * sketch.words + 300
        while first > 0 and hits[first][0] - hits[first - 1][0] < reach:
            first -= 1
        while last < len(hits) and hits[last][0] - hits[last - 1][0] < reach:
            last += 1
        return [(hits[first:last], core)]
    # the hits of one copy agree on where it begins
    scale = sketch.words / len(sketch.shingles)
    by_start = sorted((int(at - order * scale), at, order) for at, order in hits)
    copies: list[tuple[list[Hit], list[Hit]]] = []
    while len(by_start) >= max(2, _SHARE * len(sketch.shingles)) and len(copies) < _MOST_COPIES:
        first, last = _fullest([(start, order) for start, _, order in by_start], int(0.3 * sketch.words) + 60)
        copy = sorted((at, order) for _, at, order in by_start[first:last])
        copies.append((copy, copy))
        by_start = by_start[:first] + by_start[last:]
    return copies


def _fullest(hits: list[Hit], width: int) -> tuple[int, int]:
    """The hits within `width` that are most of the licence."""
    counts: dict[int, int] = {}
    best, chosen, first = 0, (0, len(hits)), 0
    for last, (at, order) in enumerate(hits):
        counts[order] = counts.get(order, 0) + 1
        while at - hits[first][0] > width:
            gone = hits[first][1]
            counts[gone] -= 1
            if not counts[gone]:
                del counts[gone]
            first += 1
        if len(counts) > best:
            best, chosen = len(counts), (first, last + 1)
    return chosen
