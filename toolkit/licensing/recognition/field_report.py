"""What is said of the fields of a text: their values, and which of them are not those of the licence that it is.

Of an unmodified text the fields are those of its fingerprint, so nothing is looked for in it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from toolkit.licensing.recognition.prints import Fingerprint, RefField
from toolkit.licensing.recognition.reading import Reading

_AMOUNT = re.compile(r"([\d.,]+(?: (?:million|billion|trillion))?) (.+)")


class FieldValue(NamedTuple):
    """A field of a text: `licensor`, `product`, `version`, `date`, `threshold` or `territory`. `original` is what the
    recognised licence has instead (None where it has the same, or nothing)."""

    field: str
    value: str
    clause: str
    original: str | None = None


class FieldDifference(NamedTuple):
    """A field whose value is not the original's. `original` None: the text adds it; `value` None: the text lacks it."""

    field: str
    clause: str
    original: str | None
    value: str | None
    line: int

    @property
    def words(self) -> str:
        """The difference as one says it: `territory: adds South Korea`, `version 3.1 → 3.2`."""
        if self.original is None:
            return f"{self.field}: adds {self.value}"
        if self.value is None:
            return f"{self.field}: {'drops' if self.field == 'territory' else 'lacks'} {self.original}"
        before, unit = _number_and_unit(self.original)
        if self.field != "threshold" or unit != _number_and_unit(self.value)[1]:
            before = self.original
        return f"{self.field}{'' if self.field in ('version', 'date') else ':'} {before} → {self.value}"


class Sibling(NamedTuple):
    """Another licence that is near a text, and the fields in which the text differs from it."""

    id: str
    differences: tuple[FieldDifference, ...]


class FieldReport(NamedTuple):
    """The fields of a text, those that are not the recognised licence's, and the same for its siblings."""

    values: tuple[FieldValue, ...] = ()
    differences: tuple[FieldDifference, ...] = ()
    siblings: tuple[Sibling, ...] = ()


def own_fields(known: Fingerprint) -> tuple[FieldValue, ...]:
    """The fields of a text that is a licence as its authors wrote it."""
    return tuple({(field.kind, field.value): _stated(known, field) for field in reversed(known.fields)}.values())[::-1]


def field_values(known: Fingerprint, differences: tuple[FieldDifference, ...]) -> tuple[FieldValue, ...]:
    """The fields of a text that differs from a licence."""
    values: list[FieldValue] = []
    for value in own_fields(known):
        others = [one for one in differences if (one.field, one.original) == (value.field, value.value)]
        values += [FieldValue(one.field, one.value, one.clause, one.original) for one in others if one.value] or (
            [] if others else [value]
        )
    values += [FieldValue(one.field, one.value, one.clause) for one in differences if one.value and not one.original]
    return tuple(values)


def other_holder(known: Fingerprint, reading: Reading) -> FieldDifference | None:
    """The holder of the copyright, where the licence is one holder's own and the text names another instead.

    A licence whose terms name nobody is anyone's to use: its holder is not looked at.
    """
    ours = [field for field in known.fields if field.first < 0]
    if not ours or not reading.copyrights:
        return None
    from toolkit.licensing.recognition.values import holder  # an unmodified text of nobody's own needs it not

    lines = [line for line in reading.copyrights if holder(line)]
    if not lines or any(field.value.casefold() in line.casefold() for field in ours for line in lines):
        return None
    at = reading.text.find(lines[0].split("\n")[0][:20])
    return FieldDifference(
        "licensor", "title", ours[0].value, holder(lines[0]), reading.text.count("\n", 0, max(at, 0)) + 1
    )


def _stated(known: Fingerprint, field: RefField) -> FieldValue:
    return FieldValue(field.kind, field.value, known.clauses[field.sentence] if field.sentence >= 0 else "title")


def _number_and_unit(value: str) -> tuple[str, str]:
    match = _AMOUNT.match(value)
    return (match[1], match[2]) if match else (value, "")
