"""Which licence is this text, and is it as its authors wrote it?

    prints = fingerprints(library().folder / "fingerprints")
    recognise(text, prints).id

An unmodified copy is answered from one hash; anything else is compared with the nearest licences, sentence by
sentence.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from toolkit.licensing.recognition.compare import Comparison, compare, is_notice_of, wrong_marks
from toolkit.licensing.recognition.field_report import (
    FieldReport,
    Sibling,
    field_values,
    other_holder,
    own_fields,
)
from toolkit.licensing.recognition.prints import LOOSE, Fingerprint, Fingerprints, Whole, codes_of
from toolkit.licensing.recognition.reading import SOFT_BREAK, TELLING, Reading, read
from toolkit.licensing.recognition.search import Place, places

NEAREST = 0.65  # below this similarity a text is no copy of a licence: see docs/recognition.md for the measurement
_COMPARED = 12  # places that are compared in full before the best is taken
_MOST_COMPARISONS = 400  # in one text: what a file of licences by the hundred costs at most
_OTHERS = 5

_TITLE_WORDS_TEXT = """the a an of and for to in on by with this license licence licenses licensed agreement
    agreements terms conditions general public version dated date release released effective last updated
    modified copyright notice text file document model models weights software code project material january
    february march april may june july august september october november december end source spdx identifier
    expat all rights reserved following see below full name type title legal under official"""
_TITLE_WORDS = frozenset(_TITLE_WORDS_TEXT.split())


class Other(NamedTuple):
    """Another licence that the text holds or resembles."""

    id: str
    similarity: float


class Change(NamedTuple):
    """One difference from the licence: `missing`, `altered` or `added`, at `clause`. `text`: the reader's own sentence
    (for what is missing: how much, and after which of the reader's words); `line`: where, from 1. `original_numbers`:
    the numbers that the original has and the text has not."""

    kind: str
    clause: str
    text: str
    line: int
    original_numbers: tuple[str, ...] = ()


class Match(NamedTuple):
    """One licence found in a text, on lines `first_line` to `last_line`."""

    id: str
    similarity: float
    modified: bool
    first_line: int
    last_line: int
    changes: tuple[Change, ...]


class Recognition(NamedTuple):
    """What a text is. `id` is None when it is no licence known here; `matches` are all licences found, the chief one
    first; `surrounding` the line ranges of other text, when the licence was looked for inside something else; `fields`
    what a template leaves open, and how it is filled in here."""

    id: str | None
    similarity: float
    modified: bool
    others: tuple[Other, ...]
    changes: tuple[Change, ...]
    matches: tuple[Match, ...]
    surrounding: tuple[tuple[int, int], ...] = ()
    copyrights: tuple[str, ...] = ()
    fields: FieldReport = FieldReport()


def recognise(text: str, prints: Fingerprints, *, embedded: bool = False) -> Recognition:
    """Recognise the licence that `text` is. With `embedded`, the licence stands inside a README or a prompt, and the
    words around it are not held against it."""
    reading = read(text)
    if match := _unmodified(reading, prints):
        own = FieldReport(own_fields(prints.get(match.id)))
        return Recognition(match.id, 1.0, False, (), (), (match,), (), tuple(reading.copyrights), own)
    found, seen = _found(reading, prints)
    copyrights = tuple(reading.copyrights)
    others = {one.id: one.similarity for one in seen}
    if not found:
        near = tuple(sorted((Other(*one) for one in others.items() if one[1] >= 0.1), key=_nearest))[:_OTHERS]
        from toolkit.licensing.recognition.field_differences import unknown_fields

        fields = FieldReport(unknown_fields(reading))
        return Recognition(None, near[0].similarity if near else 0.0, False, near, (), (), (), copyrights, fields)
    chief = max(found, key=lambda one: one.matched)
    rest = [one for one in found if one is not chief]
    changes = list(_changes(chief, reading, prints, ""))
    for one in rest:
        changes += _changes(one, reading, prints, f"{one.id} ")
    outside = _outside(found, reading)
    surrounding: tuple[tuple[int, int], ...] = ()
    if embedded:
        surrounding = tuple((reading.line(low), reading.line(high - 1)) for low, high in outside)
    else:
        for low, high in outside:
            changes += _added(low, high, chief, reading, prints.get(chief.id))
    known = prints.get(chief.id)
    if other := other_holder(known, reading):
        changes.append(Change("altered", other.clause, str(other.value), other.line))
    changes.sort(key=lambda change: change.line)
    matches = tuple(
        Match(one.id, one.similarity, bool(one.differences), reading.line(one.first), reading.line(one.last - 1),
              tuple(_changes(one, reading, prints, "")))
        for one in (chief, *rest)
    )  # fmt: skip
    also = {one.id: one.similarity for one in rest}
    close = {name: share for name, share in {**others, **also}.items() if name != chief.id and share >= NEAREST}
    near = tuple(sorted((Other(*one) for one in close.items()), key=_nearest))
    similarity = chief.similarity
    if changes and similarity == 1.0:
        added = sum(len(change.text.split()) for change in changes if change.kind == "added")
        similarity = round(min(0.9999, 2 * chief.matched / (2 * chief.matched + added)), 4)
    from toolkit.licensing.recognition.field_differences import field_differences  # an unmodified text needs it not

    differences = field_differences(known, chief, reading, () if embedded else tuple(outside))
    fields = FieldReport(
        field_values(known, differences),
        differences,
        _siblings(near[:_OTHERS], seen, reading, prints) if changes else (),
    )
    return Recognition(
        chief.id, similarity, bool(changes), near[:_OTHERS], tuple(changes), matches, surrounding, copyrights, fields
    )


def _siblings(
    near: tuple[Other, ...], seen: list[Comparison], reading: Reading, prints: Fingerprints
) -> tuple[Sibling, ...]:
    """How the fields of a text differ from those of each licence that is near; the one that it differs least from
    first."""
    from toolkit.licensing.recognition.field_differences import field_differences

    compared = {one.id: one for one in seen}
    siblings = [
        Sibling(other.id, field_differences(prints.get(other.id), compared[other.id], reading))
        for other in near
        if other.id in compared and prints.get(other.id).fields
    ]
    return tuple(sorted(siblings, key=lambda sibling: len(sibling.differences)))


def recognise_all(text: str, prints: Fingerprints) -> list[Match]:
    """Every licence that stands in a text, in the order of the text."""
    reading = read(text)
    if match := _unmodified(reading, prints):
        return [match]
    found, _ = _found(reading, prints)
    return [
        Match(one.id, one.similarity, bool(one.differences), reading.line(one.first), reading.line(one.last - 1),
              tuple(_changes(one, reading, prints, "")))
        for one in sorted(found)
    ]  # fmt: skip


def _nearest(other: Other) -> tuple[float, str]:
    return (-other.similarity, other.id)


# an unmodified text: one hash


def _unmodified(reading: Reading, prints: Fingerprints) -> Match | None:
    doubtful = False
    for start in _line_starts(reading):
        offset = reading.offsets[start]
        for whole in prints.wholes(reading.letters[offset:]):
            known = prints.get(whole.id)
            if not _marks_fit(known, reading, whole, offset) or other_holder(known, reading):
                doubtful = True  # the words are the licence's, and the numbers or the holder are not
            elif not doubtful and all(
                _harmless(low, high, reading, known, at_head=True) for low, high in _lines(0, start, reading)
            ):
                return Match(whole.id, 1.0, False, reading.line(start), reading.line(len(reading.words) - 1), ())
    return None


def _line_starts(reading: Reading) -> list[int]:
    """Where the licence may begin: the first word, and the words that open the next few lines."""
    starts = [0] if reading.words else []
    for word in range(1, min(60, len(reading.words))):
        gap = reading.text[reading.ends[word - 1] : reading.starts[word]]
        if "\n" in gap or SOFT_BREAK in gap:
            starts.append(word)
    return starts[:8]


def _marks_fit(known: Fingerprint, reading: Reading, whole: Whole, offset: int) -> bool:
    return not wrong_marks(known, reading, whole.first, whole.last - 1, offset, open_head=True, open_tail=True)


# any other text: the nearest licences, compared


def _found(reading: Reading, prints: Fingerprints) -> tuple[list[Comparison], list[Comparison]]:
    """The licences in a text, apart from one another; and the best comparison with every licence that was tried."""
    codes = codes_of(reading.words)
    waiting = places(reading.words, prints.sketches)
    found: list[Comparison] = []
    seen: dict[str, Comparison] = {}
    left = _MOST_COMPARISONS
    while waiting and left > 0:
        group = _overlapping(waiting)
        left -= len(group)
        compared = [compare(prints.get(place.id), reading, codes, *_free(place, found)) for place in group]
        for one in compared:
            if one.id not in seen or one.similarity > seen[one.id].similarity:
                seen[one.id] = one
        waiting = waiting[1:]
        if taken := _best([one for one in compared if one.similarity >= NEAREST]):
            found.append(taken)
            waiting = [place for place in waiting if not _covered(place, taken)]
    return found, list(seen.values())


def _best(compared: list[Comparison]) -> Comparison | None:
    """The licence that a stretch of text is, alone or as the first of two side by side which together explain more."""
    best: Comparison | None = None
    most = 0.0
    for one in compared:
        beside = [
            other.score
            for other in compared
            if not (one.differences or other.differences) and (other.first >= one.last or other.last <= one.first)
        ]
        score = one.score + max(beside, default=0.0)
        if best is None or score > most:
            best, most = one, score
    return best


def _overlapping(waiting: list[Place]) -> list[Place]:
    """The most promising place and its rivals for the same words."""
    first = waiting[0]
    rivals = [
        place
        for place in waiting[1:]
        if min(first.last, place.last) - max(first.first, place.first) > 0.5 * min(first.reach, place.reach)
        and place.share >= 0.4 * first.share
    ]
    return [first, *sorted(rivals, key=lambda place: -place.share)[: _COMPARED - 1]]


def _free(place: Place, found: list[Comparison]) -> tuple[int, int]:
    low, high = place.first, place.last
    for one in found:
        if one.first <= place.hits_first and one.last <= place.hits_last:
            low = max(low, one.last)
        elif one.first >= place.hits_first:
            high = min(high, one.first)
    return (low, high) if low < high else (place.first, place.last)


def _covered(place: Place, found: Comparison) -> bool:
    inside = min(place.hits_last, found.last) - max(place.hits_first, found.first)
    return inside > 0.3 * max(1, place.reach)


# what is reported


def _changes(one: Comparison, reading: Reading, prints: Fingerprints, prefix: str) -> list[Change]:
    known = prints.get(one.id)
    changes = []
    for difference in one.differences:
        clause = prefix + known.clauses[difference.sentence]
        low, high = difference.first, difference.last
        if difference.kind == "added" and all(
            _harmless(*line, reading, known, at_head=False) for line in _lines(low, high, reading)
        ):
            continue
        if difference.kind == "missing":
            size = known.ends[difference.sentence] - known.start(difference.sentence)
            after = reading.quote(max(0, low - 6), low)
            text = f"{size} word{'s' * (size != 1)} missing" + (f" after “{after}”" if after else " at the beginning")
            changes.append(Change("missing", clause, text, reading.line(max(0, min(low, len(reading.words)) - 1))))
        else:
            text = reading.quote(low, high)
            changes.append(Change(difference.kind, clause, text, reading.line(low), difference.numbers))
    return changes


def _outside(found: list[Comparison], reading: Reading) -> list[tuple[int, int]]:
    """The stretches of the text that are in no licence found."""
    edges = [0]
    for one in sorted(found, key=lambda one: one.first):
        edges += [one.first, one.last]
    edges.append(len(reading.words))
    return [(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high]


def _added(low: int, high: int, chief: Comparison, reading: Reading, known: Fingerprint) -> list[Change]:
    """What stands beside the licence in its file: added, unless it is a title, a notice or the like."""
    at_head = high <= chief.first
    clause = known.clauses[0 if at_head else -1]
    changes: list[Change] = []
    start = None
    for first, last in [*_lines(low, high, reading), (high, high)]:
        if first < last and not _harmless(first, last, reading, known, at_head=at_head):
            start = first if start is None else start
        elif start is not None:
            changes.append(Change("added", clause, reading.quote(start, first), reading.line(start)))
            start = None
    return changes


def _lines(low: int, high: int, reading: Reading) -> list[tuple[int, int]]:
    """Words `low` … `high` line by line."""
    cuts = [low]
    for word in range(low + 1, high):
        gap = reading.text[reading.ends[word - 1] : reading.starts[word]]
        if "\n" in gap or SOFT_BREAK in gap:
            cuts.append(word)
    return list(pairwise([*cuts, high])) if low < high else []


def _dated_alike(line: str, known: Fingerprint) -> bool:
    """Whether the dates in a line are the licence's, where it has any; a month alone may be that of a day."""
    ours = [field.value for field in known.fields if field.kind == "date"]
    if not ours:
        return True
    from toolkit.licensing.recognition.values import dates

    return all(any(value.startswith(date) for value in ours) for date, _, _ in dates(line))


def _harmless(low: int, high: int, reading: Reading, known: Fingerprint, *, at_head: bool) -> bool:
    """Whether a line beside the licence says nothing about rights: a title, a date, a copyright notice, an attribution
    notice, a page number, a bare address."""
    words = reading.words[low:high]
    line = reading.quote(low, high)
    if is_notice_of(reading, low, high) or line.casefold().startswith("spdx-license-identifier"):
        return True
    if words == ["page"] or words == ["page", "of"]:
        return True
    if len(line.split()) == 1 and "." in line and "/" in line:
        return True
    telling = TELLING.intersection(words)
    if telling <= {"licensed"} and "licensed under" in line.casefold() and "copyright" in words and len(words) <= 30:
        return True
    named = {piece for piece in known.id.replace(".", "-").split("-") if piece}
    if (
        telling <= {"licensed"}
        and "licensed under" in line.casefold()
        and len(words) <= 20
        and named.intersection(words)
    ):
        return not {"different", "other", "also", "another", "part", "parts", "portions"}.intersection(words)
    if len(words) > 16 or telling - {"use", "may", "licensed"}:
        return False
    headings = {number for number, part in enumerate(known.parts) if part == LOOSE and known.clauses[number] == "title"}
    numbers = {mark.value for mark in known.marks if mark.sentence in headings}
    if numbers and not {mark.value for mark in reading.marks_between(low, high) if mark.value.isdecimal()} <= numbers:
        return False  # another version, another date
    if not _dated_alike(line, known):
        return False
    titles = {code for number in headings for code in known.codes[known.start(number) : known.ends[number]]}
    return all(
        word in _TITLE_WORDS or word in named or (at_head and code in titles)
        for word, code in zip(words, codes_of(words), strict=True)
    )
