"""Edits of the fields of template licences, for `benchmarks/recognition.py`: who, what, which version, since when, from
how many users on, where."""

from __future__ import annotations

import collections
import random
import re
from collections.abc import Iterator
from typing import NamedTuple

from toolkit.licensing.recognition.build import COPIES
from toolkit.licensing.recognition.field_differences import field_differences
from toolkit.licensing.recognition.fields import Field, extract
from toolkit.licensing.recognition.prints import Fingerprints
from toolkit.licensing.recognition.reading import Reading, read
from toolkit.licensing.recognition.recognise import NEAREST, Recognition, _found, recognise
from toolkit.licensing.recognition.values import dates

NEW_LICENSORS = ("Acme Ltd", "Nordlicht Forschung GmbH", "Zwei Raben")
NEW_PRODUCTS = ("Foobar", "Blue Heron", "Quux-XL")
NEW_PLACES = ("Brazil", "Japan", "New Zealand")
UNITS = (
    ("monthly", "weekly"),
    ("annual", "monthly"),
    ("million", "billion"),
    ("users", "customers"),
    ("revenue", "turnover"),
)
MONTHS = ("January", "March", "June", "October")


class FieldEdit(NamedTuple):
    """A text with one field edited: the kind, what stood there, what stands there now (None: nothing)."""

    name: str
    field: str
    old: str
    new: str | None
    text: str


def field_edits(text: str, dice: random.Random) -> Iterator[FieldEdit]:
    """Every field of a text edited in every way: names and versions wherever they stand, the others at one place."""
    reading = read(text)
    fields = extract(reading)
    for kind, news in (("licensor", NEW_LICENSORS), ("product", NEW_PRODUCTS)):
        for value in dict.fromkeys(field.value for field in fields if field.kind == kind):
            new = dice.choice(news)
            mentions = [field for field in fields if (field.kind, field.value) == (kind, value)]
            yield FieldEdit(kind, kind, value, new, replaced(reading, mentions, new))
    named = [field for field in fields if field.kind in ("licensor", "product")]
    if len({field.kind for field in named}) == 2:  # the template in another house
        first = next(field.value for field in named if field.kind == "licensor")
        other = {field.value: NEW_LICENSORS[0] if field.kind == "licensor" else NEW_PRODUCTS[1] for field in named}
        yield FieldEdit("licensor and product", "licensor", first, None, renamed(reading, named, other))
    for value in dict.fromkeys(field.value for field in fields if field.kind == "version"):
        mentions = [field for field in fields if (field.kind, field.value) == ("version", value)]
        major, _, minor = value.rpartition(".")
        new = f"{major}.{int(minor) + 1}" if major else f"{int(value) + 5}"
        yield FieldEdit("version", "version", value, new, replaced(reading, mentions, new))
    for field in fields:
        shown = reading.text[field.start : field.end]
        if field.kind == "date":
            new = re.sub(r"\d{4}(?=-|\D*$)", lambda match: str(int(match[0]) + 1), shown, count=1)
            if dice.random() < 0.5 and re.search("[a-z]{3}", shown, re.I):
                new = re.sub(
                    "[A-Za-z]{3,}",
                    dice.choice([month for month in MONTHS if month.lower() not in shown.lower()]),
                    shown,
                )
            yield FieldEdit("date", "date", field.value, next(dates(new))[0], swapped(reading, field, new))
        if field.kind == "threshold":
            number = re.search(r"\d[\d,.]*\d|\d", shown)
            assert number
            digits = str(int(float(number[0].replace(",", "")) * dice.choice((2, 3, 7))))
            yield FieldEdit(
                "threshold: number",
                "threshold",
                field.value,
                None,
                swapped(reading, field, shown.replace(number[0], digits)),
            )
            units = [(old, new) for old, new in UNITS if re.search(rf"\b{old}\b", shown)]
            if units:
                old, new = dice.choice(units)
                yield FieldEdit(
                    "threshold: unit",
                    "threshold",
                    field.value,
                    None,
                    swapped(reading, field, re.sub(rf"\b{old}\b", new, shown, count=1)),
                )
        if field.kind == "territory":
            place = dice.choice(NEW_PLACES)
            cased = place.upper() if shown.isupper() else place
            yield FieldEdit("territory: added", "territory", "", place, swapped(reading, field, f"{shown}, {cased}"))
            others = [other for other in fields if other.kind == "territory" and other.sentence == field.sentence]
            if len(others) > 1:
                yield FieldEdit("territory: removed", "territory", field.value, None, without(reading, field))
            else:
                yield FieldEdit("territory: replaced", "territory", field.value, place, swapped(reading, field, cased))


def replaced(reading: Reading, mentions: list[Field], new: str) -> str:
    return renamed(reading, mentions, dict.fromkeys((field.value for field in mentions), new))


def renamed(reading: Reading, mentions: list[Field], names: dict[str, str]) -> str:
    text = reading.text
    for field in sorted((field for field in mentions if field.start >= 0), key=lambda field: -field.start):
        new = names[field.value]
        cased = (
            new.upper() if text[field.start : field.end].isupper() and len(text[field.start : field.end]) > 4 else new
        )
        text = text[: field.start] + cased + text[field.end :]
    for field in mentions:
        if field.start < 0:
            text = text.replace(field.value, names[field.value])
    return text


def swapped(reading: Reading, field: Field, new: str) -> str:
    return reading.text[: field.start] + new + reading.text[field.end :]


def without(reading: Reading, field: Field) -> str:
    """A list of places less one."""
    head, tail = reading.text[: field.start], reading.text[field.end :]
    if match := re.match(r"\s*(?:,|and\b)\s*", tail, re.I):
        return head + tail[match.end() :]
    return re.sub(r"(?:,\s*(?:and\s+)?|\s+and\s+)(?:the\s+)?$", "", head, flags=re.I) + tail


def measure_fields(texts: dict[str, str], prints: Fingerprints, seed: int) -> tuple[list[str], bool]:
    """Print how many field edits are flagged and named; give those that went wrong, and whether too many did."""
    dice = random.Random(seed)
    wrong: list[str] = []
    totals: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for identifier, text in texts.items():
        expected = COPIES.get(identifier, identifier)
        for one in field_edits(text, dice):
            answer = recognise(one.text, prints)
            became = answer.id not in (None, expected) and not answer.modified  # a sibling, word for word
            known, flagged, named = (
                answer.id is not None,
                answer.modified or became,
                became or names(answer, one, expected),
            )
            for name in (one.name, "all"):
                totals[name].update(edits=1, known=known, flagged=flagged, named=named)
            if not (known and flagged and named):
                said = "; ".join(difference.words for difference in answer.fields.differences) or "no field"
                wrong.append(
                    f"[field {one.name}] {identifier} {one.old!r} → {one.new!r}: {answer.id} {answer.modified} {said}"
                )
    print(f"{'field edit':28} {'edits':>6} {'template':>9} {'flagged':>9} {'field named':>12}")
    for name in sorted(totals, key=lambda name: (name == "all", name)):
        total = totals[name]
        shares = [total[key] / total["edits"] for key in ("known", "flagged", "named")]
        print(f"{name:28} {total['edits']:6} {shares[0]:9.1%} {shares[1]:9.1%} {shares[2]:12.1%}")
    print()
    sums = totals["all"]
    return wrong, sums["flagged"] < sums["edits"] or sums["named"] < 0.95 * sums["edits"]


def names(answer: Recognition, one: FieldEdit, expected: str) -> bool:
    """Whether the edited field is named, against the licence itself, whichever of its siblings is now the nearest."""
    reports = [answer.fields.differences] if answer.id == expected else []
    reports += [sibling.differences for sibling in answer.fields.siblings if sibling.id == expected]
    return any(
        difference.field == one.field
        and (not one.old or difference.original == one.old)
        and (one.new is None or _letters(difference.value or "") == _letters(one.new) or difference.value is None)
        for differences in reports
        for difference in differences
    )


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def siblings_apart(texts: dict[str, str], prints: Fingerprints) -> tuple[list[str], bool]:
    """Print of how many pairs from one template both are answered as themselves, and how many differ in a field."""
    pairs: dict[tuple[str, str], tuple[bool, bool]] = {}
    for identifier, text in texts.items():
        if identifier in COPIES:
            continue
        reading = read(text)
        answer = recognise(text, prints)
        _, seen = _found(reading, prints)
        for one in seen:
            if one.id != identifier and one.similarity >= NEAREST:
                pair = (min(identifier, one.id), max(identifier, one.id))
                right, by_field = pairs.get(pair, (True, False))
                differ = bool(field_differences(prints.get(one.id), one, reading))
                pairs[pair] = right and answer.id == identifier and not answer.modified, by_field or differ
    alike = [
        f"[siblings] {first} and {second}: no field differs" for (first, second), (_, by) in pairs.items() if not by
    ]
    mixed = [
        f"[siblings] {first} and {second}: taken for one another"
        for (first, second), (right, _) in pairs.items()
        if not right
    ]
    print(
        f"{len(pairs)} pairs from one template: {len(pairs) - len(mixed)} told apart, {len(pairs) - len(alike)} by a field\n"
    )
    return mixed + alike, bool(mixed)
