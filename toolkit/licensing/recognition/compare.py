"""One licence beside a stretch of a text: which sentences are there, altered, missing, and what was added.

Sentences are decided by their hashes; the alignment of words only says where to look, so that a change which happens to
keep a word's one-byte code is still a change.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from toolkit.licensing.recognition.align import Block, align, on_boundaries
from toolkit.licensing.recognition.prints import LOOSE, Fingerprint, RefMark, sentence_digest
from toolkit.licensing.recognition.reading import Mark, Reading, is_notice

_TITLE = 12  # words that a line of the title is worth


class Difference(NamedTuple):
    """One difference: `first` … `last` are the words of the text (none for what is missing), `before` the sentence of
    the original that it concerns, or after which something was added. `numbers`: what the original says instead; `off`:
    how many numbers are not the original's."""

    kind: str
    sentence: int
    first: int
    last: int
    numbers: tuple[str, ...] = ()
    off: int = 0


class Comparison(NamedTuple):
    """`first` … `last`: the words of the text that are this licence. `matched`, `ours`: words found of those it has.
    `titles`: lines of its title that the text has word for word, less those that it has otherwise. `blocks`: which words
    of the licence are which of the text."""

    id: str
    first: int
    last: int
    matched: int
    ours: int
    differences: tuple[Difference, ...]
    titles: int = 0
    blocks: tuple[Block, ...] = ()

    @property
    def score(self) -> float:
        """What the licence explains of the text, less what it would have and the text has not, or has otherwise. Among
        texts from one template the title decides, and the numbers."""
        unlike = (self.ours - self.matched) + (self.last - self.first - self.matched)
        numbers = sum(difference.off for difference in self.differences)
        return self.matched - unlike - 0.5 * (len(self.differences) + numbers) + _TITLE * max(-3, min(3, self.titles))

    @property
    def similarity(self) -> float:
        total = self.ours + self.last - self.first
        if not self.matched:
            return 0.0
        if not self.differences:
            return 1.0
        return round(min(0.9999, max(0.0, 2 * self.matched / total - 0.0001 * len(self.differences))), 4)


def compare(known: Fingerprint, reading: Reading, codes: bytes, first: int, last: int) -> Comparison:
    """Compare words `first` … `last` of a text with a licence. What stands beside it is left to the caller."""
    theirs = codes[first:last]
    starts = frozenset((0, *known.ends))
    blocks = on_boundaries(align(known.codes, theirs), known.codes, theirs, starts)
    shifted = tuple(block._replace(theirs=block.theirs + first) for block in blocks)
    return _Comparing(known, reading, first, blocks).result()._replace(blocks=shifted)


class _Comparing:
    def __init__(self, known: Fingerprint, reading: Reading, shift: int, blocks: list[Block]) -> None:
        self.known = known
        self.reading = reading
        count = len(known.ends)
        self.spans: list[tuple[int, int] | None] = [None] * count  # the words of the text that are sentence i
        self.same = [False] * count
        self.found = [0] * count
        self.cores: dict[int, tuple[int, int]] = {}  # the same before neighbouring words were given to them
        self.differences: list[Difference] = []
        for block in blocks:
            at, end = block.ours, block.ours + block.size
            sentence = bisect_right(known.ends, at)
            while at < end:
                stop = min(end, known.ends[sentence])
                there = block.theirs + at - block.ours + shift
                self.found[sentence] += stop - at
                span = self.spans[sentence]
                self.spans[sentence] = (span[0] if span else there, there + stop - at)
                at = stop
                sentence += 1

    def result(self) -> Comparison:
        known = self.known
        present = []
        self.cores = {number: span for number, span in enumerate(self.spans) if span}
        for number, span in enumerate(self.spans):
            size = known.ends[number] - known.start(number)
            if span and self.found[number] >= (0.5 * size if size > 3 else size):
                present.append(number)
            else:
                self.spans[number] = None
        if not present:
            return Comparison(known.id, 0, 0, 0, len(known.codes), ())
        self._between(-1, present[0])
        for before, after in pairwise(present):
            self._between(before, after)
        self._between(present[-1], len(known.ends))
        for number in present:
            self._settle(number)
        self._marks()
        return self._summed()

    def _between(self, before: int, after: int) -> None:
        """Give the words between two sentences that are there to one of them, to a missing one, or call them added."""
        known = self.known
        lost = list(range(before + 1, after))
        left = self.spans[before] if before >= 0 else None
        right = self.spans[after] if after < len(known.ends) else None
        if left and right:
            low, high = left[1], right[0]
        elif right:  # before the licence only what its lost beginning may have been
            low, high = right[0], right[0]
            if (room := self._room(lost, after)) and not (self._break(high - 1, exact=True) and not lost):
                low = self._edge(high, room, ahead=False)
        elif left:
            low, high = left[1], left[1]
            if (room := self._room(lost, before)) and not (self._break(low - 1, exact=True) and not lost):
                high = self._edge(low, room, ahead=True)
        else:
            return
        if low < high and left:  # an unfinished sentence goes on
            taken = low
            while taken < high and not self._break(taken - 1, exact=not self._complete(before)):
                taken += 1
            if taken < high or not right or self._break(taken - 1, exact=True) or self._complete(after):
                low = taken
            self.spans[before] = (left[0], low)
            left = self.spans[before]
        if low < high and right:  # a sentence that began earlier
            taken = high
            while taken > low and not self._break(taken - 1, exact=True):
                taken -= 1
            high = taken
            self.spans[after] = (high, right[1])
        if low < high:
            self._place(lost, before, after, low, high)
        else:
            for number in lost:
                self.differences.append(Difference("missing", number, low, low))

    def _place(self, lost: list[int], before: int, after: int, low: int, high: int) -> None:
        """Words between two sentences: the lost ones in other words, or something new."""
        cuts = [low, *(word + 1 for word in range(low, high - 1) if self._break(word, exact=True)), high]
        pieces = list(pairwise(cuts))
        for number in list(lost):  # the same letters, cut into other words
            for piece in pieces:
                if self._is(number, *piece):
                    self.spans[number] = piece
                    self.same[number] = True
                    self.found[number] = piece[1] - piece[0]
                    lost.remove(number)
                    pieces.remove(piece)
                    break
        if len(lost) == 1 and self._is(lost[0], low, high):
            self.spans[lost[0]], self.same[lost[0]], self.found[lost[0]] = (low, high), True, high - low
            return
        must = [number for number in lost if self.known.parts[number] != LOOSE] or lost
        for number in lost:
            if number in must and pieces:
                piece = pieces.pop(0)
                size = self.known.ends[number] - self.known.start(number)
                if number == must[-1] and pieces and sum(b - a for a, b in (piece, *pieces)) <= 2 * size:
                    piece, pieces = (piece[0], pieces[-1][1]), []
                self.differences.append(Difference("altered", number, *piece))
            else:
                self.differences.append(Difference("missing", number, low, low))
        if pieces:
            self.differences.append(Difference("added", max(before, 0), pieces[0][0], pieces[-1][1]))

    def _room(self, lost: list[int], beside: int) -> int:
        known = self.known
        room = sum(known.ends[number] - known.start(number) for number in lost if not known.parts[number])
        return int(1.3 * room) + 8 * (room > 0) + 12 * (not self._complete(beside))

    def _span(self, number: int) -> tuple[int, int]:
        """The words of a sentence that is there."""
        span = self.spans[number]
        assert span
        return span

    def _complete(self, number: int) -> bool:
        """Whether every word of a sentence was found."""
        return self.found[number] == self.known.ends[number] - self.known.start(number)

    def _break(self, word: int, *, exact: bool) -> bool:
        """Whether a sentence can end after a word. Where ours has ended in full, the end of a line is enough."""
        if word < 0 or self.reading.breaks_after(word):
            return True
        if exact or word + 1 >= len(self.reading.words):
            return False
        return "\n" in self.reading.text[self.reading.ends[word] : self.reading.starts[word + 1]]

    def _edge(self, near: int, room: int, *, ahead: bool) -> int:
        """How far whole sentences reach from `near` outwards, within `room` words."""
        reached = near
        for step in range(1, room + 1):
            word = near + step - 1 if ahead else near - step - 1
            if ahead and word >= len(self.reading.words):
                break
            if word < -1:
                break
            if self._break(word, exact=True):
                reached = near + step if ahead else near - step
        return reached

    def _settle(self, number: int) -> None:
        """Decide a sentence that is there by its hash."""
        low, high = self._span(number)
        core_low, core_high = self.cores[number]
        if self._is(number, low, high):
            self.same[number] = True
        elif self._is(number, core_low, core_high) and all(
            first == last or is_notice_of(self.reading, first, last)
            for first, last in ((low, core_low), (core_high, high))
        ):
            self.same[number] = True
            self.spans[number] = (core_low, core_high)
        else:
            ours = Counter(mark.value for mark in self.known.marks if mark.sentence == number and not mark.optional)
            theirs = Counter(mark.value for mark in self.reading.marks_between(low, high) if not mark.marker)
            off = max((ours - theirs).total(), (theirs - ours).total())
            numbers = tuple(value for value in (ours - theirs) if value.isdecimal())
            self.differences.append(Difference("altered", number, low, high, numbers, off))

    def _is(self, number: int, low: int, high: int) -> bool:
        offsets = self.reading.offsets
        return sentence_digest(self.reading.letters[offsets[low] : offsets[high]]) == self.known.hashes[number]

    def _marks(self) -> None:
        """Numbers and references: in every stretch of unaltered sentences, in their places."""
        numbers = [number for number, same in enumerate(self.same) if same]
        run: list[int] = []
        for number in [*numbers, None]:
            if run and (number is None or number != run[-1] + 1 or self._span(number)[0] != self._span(run[-1])[1]):
                self._marks_of(run[0], run[-1])
                run = []
            if number is not None:
                run.append(number)

    def _marks_of(self, first: int, last: int) -> None:
        known, reading = self.known, self.reading
        low = self._span(first)[0]
        wrong = wrong_marks(
            known, reading, first, last, reading.offsets[low],
            open_head=first == 0 or not self.same[first - 1],
            open_tail=last + 1 == len(known.ends) or not self.same[last + 1],
        )  # fmt: skip
        for number, numbers in wrong.items():
            self.same[number] = False
            span = self._span(number)
            named = tuple(value for value in numbers if value)
            self.differences.append(Difference("altered", number, *span, named, len(numbers)))

    def _summed(self) -> Comparison:
        known = self.known
        parts: dict[str, list[int]] = {}
        for number, part in enumerate(known.parts):
            if part and part != LOOSE:
                parts.setdefault(part, []).append(number)
        absent = {
            number
            for numbers in parts.values()
            if sum(self.spans[number] is not None for number in numbers) <= len(numbers) // 8
            and not any(self.same[number] for number in numbers if known.ends[number] - known.start(number) > 6)
            for number in numbers
        }
        absent |= {number for number, part in enumerate(known.parts) if part == LOOSE and self.spans[number] is None}
        kept = tuple(
            sorted(
                (
                    difference
                    for difference in self.differences
                    if not (
                        difference.sentence in absent
                        and difference.kind != "added"
                        and difference.first == difference.last
                    )
                ),
                key=lambda difference: (difference.first, difference.sentence),
            )
        )
        spans = [span for span in self.spans if span]
        altered = [(one.first, one.last) for one in kept if one.first < one.last]
        first = min(span[0] for span in spans + altered)
        last = max(span[1] for span in spans + altered)
        ours = sum(
            known.ends[number] - known.start(number) for number in range(len(known.ends)) if number not in absent
        )
        matched = sum(
            min(known.ends[number] - known.start(number), self.found[number] if self.spans[number] else 0)
            for number in range(len(known.ends))
            if number not in absent
        )
        headings = [number for number, part in enumerate(known.parts) if part == LOOSE and self.spans[number]]
        titles = sum(1 if self.same[number] else -1 for number in headings)
        return Comparison(known.id, first, last, matched, ours, kept, titles)


def wrong_marks(
    known: Fingerprint, reading: Reading, first: int, last: int, base: int, *, open_head: bool, open_tail: bool
) -> dict[int, list[str]]:
    """The sentences, of `first` … `last` which stand unaltered from letter `base` on, whose numbers are not the
    original's; with what the original has. At an open end, marks may belong to whatever stands beside it."""
    start, end = known.offset(first), known.letters[last]
    ours: dict[int, list[RefMark]] = {}
    for mark in known.marks:
        if first <= mark.sentence <= last:
            ours.setdefault(mark.offset - start, []).append(mark)
    low = bisect_left(reading.marks, base, key=lambda mark: mark.offset)
    high = bisect_right(reading.marks, base + end - start, key=lambda mark: mark.offset)
    theirs: dict[int, list[Mark]] = {}
    for found in reading.marks[low:high]:
        theirs.setdefault(found.offset - base, []).append(found)
    wrong: dict[int, list[str]] = {}
    for offset in sorted({*ours, *theirs}):
        expected, there = ours.get(offset, []), theirs.get(offset, [])
        lost, rest = _matched(expected, there)
        for mark in lost:
            wrong.setdefault(mark.sentence, []).append(mark.value)
        rest = rest[len(lost) :]  # one stands for the other
        if (offset == 0 and open_head) or (offset == end - start and open_tail):
            continue
        numbering = [mark.value for mark in expected if mark.optional]
        for found in rest:
            if found.marker or found.value in numbering:
                continue
            sentence = min(last, bisect_right(known.letters, start + offset, first, last + 1))
            if sentence > first and known.offset(sentence) == start + offset and not _opens(reading, found):
                sentence -= 1
            wrong.setdefault(sentence, []).append("")  # too many, which is further off than another
            wrong[sentence].append("")
    return wrong


def _matched(expected: list[RefMark], there: list[Mark]) -> tuple[list[RefMark], list[Mark]]:
    """The marks at one place that the original requires and the text lacks, and those that the text has besides."""
    if len(expected) == len(there):  # the same layout: each stands for the one in its place
        pairs = list(zip(expected, there, strict=True))
        lost = [mark for mark, found in pairs if not mark.optional and found.value != mark.value]
        return lost, [found for mark, found in pairs if mark.optional or found.value != mark.value]
    lost, rest, at = [], [], 0
    for mark in expected:
        if mark.optional:
            continue
        scarce = mark.bare and sum(one.value == mark.value for one in there) < sum(
            one.value == mark.value for one in expected
        )  # then a marker of that value is the marker, and not the term
        while at < len(there) and (there[at].value != mark.value or (scarce and there[at].marker)):
            rest.append(there[at])
            at += 1
        if at == len(there):
            lost.append(mark)
        at += 1
    return lost, rest + there[at:]


def is_notice_of(reading: Reading, low: int, high: int) -> bool:
    """Whether words of a text are a copyright notice that stands among others' words."""
    return "copyright" in reading.words[low:high] and is_notice(reading.quote(low, high))


def _opens(reading: Reading, mark: Mark) -> bool:
    """Whether a mark between two sentences begins the second."""
    word = bisect_right(reading.starts, mark.start) - 1
    gap = reading.text[reading.ends[word] if word >= 0 else 0 : mark.start]
    return "\n" in gap or any(stop in gap for stop in ".;:。；")
