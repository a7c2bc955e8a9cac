"""Laying a text beside a fingerprint: which word of the one is which word of the other.

Runs of words that occur once in each anchor the two (patience diff), so the work is linear in their lengths; only the
small gaps between anchors are compared word by word.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

_GRAM = 5  # bytes that make an anchor
_LARGEST_GAP = 160_000  # words × words that a gap may cost


class Block(NamedTuple):
    """`size` words from `ours` (of the fingerprint) equal those from `theirs` (of the text)."""

    ours: int
    theirs: int
    size: int


def align(ours: bytes, theirs: bytes) -> list[Block]:
    """The runs of equal words, in order and disjoint."""
    head = _common(ours, theirs)
    tail = _common(ours[head:][::-1], theirs[head:][::-1])
    blocks = [Block(0, 0, head)] if head else []
    end_ours, end_theirs = len(ours) - tail, len(theirs) - tail
    ours_at, theirs_at = head, head
    for block in _anchored(ours, theirs, head, end_ours, head, end_theirs):
        blocks += _gap(ours, theirs, ours_at, block.ours, theirs_at, block.theirs, open_head=not blocks)
        blocks.append(block)
        ours_at, theirs_at = block.ours + block.size, block.theirs + block.size
    blocks += _gap(ours, theirs, ours_at, end_ours, theirs_at, end_theirs, open_head=not blocks, open_tail=not tail)
    if tail:
        blocks.append(Block(end_ours, end_theirs, tail))
    return _joined(blocks)


def _common(first: bytes, second: bytes) -> int:
    """How many leading bytes are the same."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _anchored(ours: bytes, theirs: bytes, a: int, b: int, c: int, d: int) -> list[Block]:
    """The longest chain of runs that occur once on each side, every run as long as it goes."""
    places = _once(theirs, c, d)
    pairs = [(at, places[gram]) for gram, at in _once(ours, a, b).items() if gram in places]
    pairs.sort()
    blocks: list[Block] = []
    for at, there in _rising(pairs):
        if blocks and at < blocks[-1].ours + blocks[-1].size:
            continue
        low_ours, low_theirs = (
            (blocks[-1].ours + blocks[-1].size, blocks[-1].theirs + blocks[-1].size) if blocks else (a, c)
        )
        if there < low_theirs:
            continue
        while at > low_ours and there > low_theirs and ours[at - 1] == theirs[there - 1]:
            at, there = at - 1, there - 1
        size = _common(ours[at:b], theirs[there:d])
        blocks.append(Block(at, there, size))
    return blocks


def _once(codes: bytes, start: int, end: int) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for at in range(start, end - _GRAM + 1):
        gram = codes[at : at + _GRAM]
        found[gram] = -1 if gram in found else at
    return {gram: at for gram, at in found.items() if at >= 0}


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest subsequence in which both places rise."""
    tops: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for number, (_, there) in enumerate(pairs):
        at = bisect_left(tops, there)
        if at == len(tops):
            tops.append(there)
            last.append(number)
        else:
            tops[at], last[at] = there, number
        before.append(last[at - 1] if at else -1)
    chain = []
    number = last[-1] if last else -1
    while number >= 0:
        chain.append(pairs[number])
        number = before[number]
    return chain[::-1]


def _gap(
    ours: bytes, theirs: bytes, a: int, b: int, c: int, d: int, *, open_head: bool = False, open_tail: bool = False
) -> list[Block]:
    """What is equal between two anchors. At an open end the text may go on for long: only its near part counts."""
    reach = 2 * (b - a) + 16
    if open_head and not open_tail and d - c > reach:
        c = d - reach
    elif open_tail and not open_head and d - c > reach:
        d = c + reach
    if a >= b or c >= d or (b - a) * (d - c) > _LARGEST_GAP:
        return []
    from difflib import SequenceMatcher  # an unmodified text needs it not

    matcher = SequenceMatcher(None, ours[a:b], theirs[c:d], autojunk=False)
    return [Block(a + i, c + j, size) for i, j, size in matcher.get_matching_blocks() if size]


def _joined(blocks: list[Block]) -> list[Block]:
    joined: list[Block] = []
    for block in blocks:
        if (
            joined
            and joined[-1].ours + joined[-1].size == block.ours
            and joined[-1].theirs + joined[-1].size == block.theirs
        ):
            joined[-1] = joined[-1]._replace(size=joined[-1].size + block.size)
        else:
            joined.append(block)
    return joined


def on_boundaries(blocks: list[Block], ours: bytes, theirs: bytes, starts: frozenset[int]) -> list[Block]:
    """Move each gap to where a sentence begins, when the words around it allow more than one reading.

    “You may sell. You may lend.” less its first sentence can be read as “You may [sell. You may] lend.”; a reader would
    not, and neither do we.
    """
    moved = list(blocks)
    for number in range(len(moved) - 1):
        left, right = moved[number], moved[number + 1]
        i1, i2 = left.ours + left.size, right.ours
        j1, j2 = left.theirs + left.size, right.theirs
        if (i1 < i2) == (j1 < j2):
            continue  # a replacement stays where it is
        choices = []
        back = 0
        while True:
            if i1 - back in starts and (i1 == i2 or i2 - back in starts):
                choices.append(-back)
            if back >= left.size or not (
                ours[i2 - back - 1] == theirs[j2 - back - 1] and ours[i1 - back - 1] == theirs[j1 - back - 1]
            ):
                break
            back += 1
            if back > 60:
                break
        ahead = 0
        while ahead < min(right.size, 60) and (ours[i1 + ahead] == theirs[j1 + ahead]):
            ahead += 1
            if i1 + ahead in starts and (i1 == i2 or i2 + ahead in starts):
                choices.append(ahead)
        if choices:
            shift = min(choices, key=abs)
            moved[number] = left._replace(size=left.size + shift)
            moved[number + 1] = Block(right.ours + shift, right.theirs + shift, right.size - shift)
    return [block for block in moved if block.size > 0]
