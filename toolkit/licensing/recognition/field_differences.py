"""The fields of a text beside those of the licence that it was recognised as: which differ, and how.

A field is looked for where the words around it are, so a new name is found whatever it is. Only sentences that are not
the original's are looked at; in all others the fields are the original's too.
"""

from __future__ import annotations

import re

from toolkit.licensing.recognition.compare import Comparison
from toolkit.licensing.recognition.field_report import FieldDifference, FieldValue, other_holder
from toolkit.licensing.recognition.fields import extract, proper_name, without_version
from toolkit.licensing.recognition.prints import LOOSE, Fingerprint, RefField
from toolkit.licensing.recognition.reading import Reading
from toolkit.licensing.recognition.values import PLACES, dates, places, stated_versions, thresholds, versions

_DIGITS = "0123456789"
_DECIMALS = re.compile(r"(?:\.\d+)*")
_NAMES = ("licensor", "product")
_NUMBERED = ("version", "date", "threshold")
_FURTHEST = 3  # words around a field that may have changed with it


def unknown_fields(reading: Reading) -> tuple[FieldValue, ...]:
    """The fields of a text that is no licence known here, as its own words state them."""
    found = {(field.kind, field.value.casefold()): field for field in reversed(extract(reading))}
    return tuple(FieldValue(field.kind, field.value, field.clause) for field in reversed(found.values()))


def field_differences(
    known: Fingerprint, one: Comparison, reading: Reading, outside: tuple[tuple[int, int], ...] = ()
) -> tuple[FieldDifference, ...]:
    """The fields in which a text differs from a licence that it was compared with. `outside`: words beside the licence
    that are its title's or its footer's place."""
    return _Differing(known, one, reading, outside).result()


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


class _Differing:
    """One comparison of fields: `there` says which word of the text is which of the licence, `altered` which words of
    the text stand for an altered sentence."""

    def __init__(
        self, known: Fingerprint, one: Comparison, reading: Reading, outside: tuple[tuple[int, int], ...]
    ) -> None:
        self.known, self.one, self.reading, self.outside = known, one, reading, outside
        self.there = {block.ours + step: block.theirs + step for block in one.blocks for step in range(block.size)}
        self.altered = {
            difference.sentence: (difference.first, difference.last)
            for difference in one.differences
            if difference.kind == "altered"
        }
        self.missing = {difference.sentence for difference in one.differences if difference.kind == "missing"}
        self.found: dict[tuple[str, str | None, str | None], FieldDifference] = {}
        self.lost: dict[tuple[str, str], RefField] = {}
        touched = {-1, *self.altered, *self.missing}
        touched |= {number for number, part in enumerate(known.parts) if part == LOOSE and not self._stands(number)}
        self.held = {
            (field.kind, field.value) for field in known.fields if not touched.intersection(self._sentences(field))
        }

    def _stands(self, sentence: int) -> bool:
        return any(word in self.there for word in range(self.known.start(sentence), self.known.ends[sentence]))

    def _sentences(self, field: RefField) -> tuple[int, ...]:
        """The sentence of a field; and the next, to which the numbers at the end of one are counted."""
        at_end = field.sentence >= 0 and field.last >= self.known.ends[field.sentence]
        return (field.sentence, field.sentence + 1) if at_end and field.kind in _NUMBERED else (field.sentence,)

    def result(self) -> tuple[FieldDifference, ...]:
        if other := other_holder(self.known, self.reading):
            self._add(other)
        for field in self.known.fields:
            altered = next((number for number in self._sentences(field) if number in self.altered), None)
            if field.kind == "territory" and altered is not None:
                continue
            if altered is not None:
                low, high = self.altered[altered]
                if altered > field.sentence:  # only its last numbers are counted to that sentence
                    low = self.there.get(field.first - 1, low - 1) + 1
                self._slot(field, low, high)
            elif field.sentence in self.missing:
                self.lost.setdefault((field.kind, field.value), field)
        for sentence in self.altered:
            self._territory(sentence)
        explained = {(one.field, one.original) for one in self.found.values()}
        for key, field in self.lost.items():
            if key not in self.held and key not in explained:
                line = self._line(self.altered.get(field.sentence, (0, 0))[0])
                self._add(FieldDifference(field.kind, self.known.clauses[field.sentence], field.value, None, line))
        for difference in self.one.differences:
            if difference.kind != "missing":
                self._added(self.known.clauses[difference.sentence], difference.first, difference.last)
        for first, last in self.outside:
            self._added("title" if first < self.one.first else self.known.clauses[-1], first, last)
        return self._paired()

    def _paired(self) -> tuple[FieldDifference, ...]:
        """The differences; where one value of a kind is gone and one other is new, it stands in its place."""
        found = list(self.found.values())
        for kind in _NUMBERED:
            named = {one.original for one in found if one.field == kind and one.value is not None}
            gone = {
                field.value
                for field in self.known.fields
                if field.kind == kind
                and field.value not in named
                and ((kind, field.value) not in self.held or (kind, field.value) in self.lost)
            }
            new = [one for one in found if one.field == kind and one.original is None]
            if len(gone) == len(new) == 1:
                found[found.index(new[0])] = new[0]._replace(original=gone.pop())
                found = [one for one in found if one.field != kind or one.value is not None]
        return tuple(found)

    def _add(self, one: FieldDifference) -> None:
        if _letters(one.original or "") != _letters(one.value or "") or one.field in _NUMBERED:
            told = _letters(one.value) if one.value and one.field in _NAMES else one.value
            self.found.setdefault((one.field, one.original, told), one)

    def _line(self, word: int) -> int:
        return self.reading.line(max(0, min(word, len(self.reading.words) - 1))) if self.reading.words else 1

    def _text(self, first: int, last: int) -> tuple[int, int]:
        """The characters of words `first` up to `last`, with the numbers before and after them."""
        reading = self.reading
        low = reading.ends[first - 1] if first else 0
        return low, (reading.starts[last] if last < len(reading.starts) else len(reading.text))

    def _slot(self, field: RefField, low: int, high: int) -> None:
        """What stands where the original has a field, in an altered sentence of words `low` up to `high`."""
        key = (field.kind, field.value)
        value = self._shown(field) if field.kind in _NAMES else ""
        first, last = self._place(field, low, high)
        if not value and 0 <= last - first <= 2 * (field.last - field.first) + _FURTHEST:
            value = self._value(field.kind, first, last, low, high)
            if field.kind in _NAMES and _letters(field.value) in _letters(value):
                value = field.value  # something was put beside it
        if not value:
            self.lost.setdefault(key, field)
        elif value == field.value or (field.kind in _NAMES and _letters(value) == _letters(field.value)):
            self.held.add(key)
        else:
            clause = self.known.clauses[field.sentence]
            self._add(FieldDifference(field.kind, clause, field.value, value, self._line(first)))

    def _place(self, field: RefField, low: int, high: int) -> tuple[int, int]:
        """The words of the text between those that stand before and after a field."""
        before = range(field.first - 1, field.first - 2 - _FURTHEST, -1)
        after = range(field.last, field.last + 1 + _FURTHEST)
        left = next((self.there[word] for word in before if word in self.there), low - 1)
        right = next((self.there[word] for word in after if word in self.there), high)
        return max(left + 1, low), min(right, high)

    def _shown(self, field: RefField) -> str:
        """The words of a name where the text has them all, with the decimals that follow; empty where it has not."""
        here = [self.there[word] for word in range(field.first, field.last) if word in self.there]
        if not here or len(here) < field.last - field.first:
            return ""
        text, end = self.reading.text, self.reading.ends[here[-1]]
        decimals = _DECIMALS.match(text, end)
        shown = text[self.reading.starts[here[0]] : end] + (decimals[0] if decimals else "")
        return shown if _letters(shown).rstrip(_DIGITS) == _letters(field.value).rstrip(_DIGITS) else ""

    def _value(self, kind: str, first: int, last: int, low: int, high: int) -> str:
        """The value of a kind at words `first` up to `last`, in a sentence of words `low` up to `high`."""
        if kind in _NAMES:
            return without_version(proper_name(self.reading.quote(first, last).removesuffix("'s")))
        start, end = self._text(first, last)
        from_, to = self._text(low, high)
        read = {"date": dates, "threshold": thresholds, "version": versions}[kind]
        stated = read(self.reading.text[from_:to])
        return next((value for value, at, till in stated if from_ + till > start and from_ + at < end), "")

    def _territory(self, sentence: int) -> None:
        start, end = self._text(*self.altered[sentence])
        ours = [field.value for field in self.known.fields if (field.kind, field.sentence) == ("territory", sentence)]
        theirs = [
            value for match in PLACES.finditer(self.reading.text, start, end) for value, _, _ in places(match["places"])
        ]
        clause, line = self.known.clauses[sentence], self._line(self.altered[sentence][0])
        for place in ours:
            if place not in theirs:
                self._add(FieldDifference("territory", clause, place, None, line))
        for place in theirs:
            if place not in ours:
                self._add(FieldDifference("territory", clause, None, place, line))

    def _added(self, clause: str, first: int, last: int) -> None:
        """The fields that words state which the original does not have."""
        start, end = self._text(first, last)
        text = self.reading.text[start:end]
        stated = [("version", value) for value, _, _ in stated_versions(text)]
        stated += [("threshold", value) for value, _, _ in thresholds(text)]
        stated += [("territory", value) for match in PLACES.finditer(text) for value, _, _ in places(match["places"])]
        stated += [("date", value) for value, _, _ in dates(text)]
        known = {(field.kind, field.value) for field in self.known.fields}
        known |= {(one.field, one.value) for one in self.found.values() if one.value}
        for kind, value in stated:
            if (kind, value) not in known:
                self._add(FieldDifference(kind, clause, None, value, self._line(first)))
