"""Whether `obligations.json` is fulfilled, complete, and true of the files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from toolkit.files.digests import sha256_file
from toolkit.release.card import verbatim
from toolkit.release.facts import Obligation
from toolkit.release.obligations import (
    CARD,
    FILE,
    IN_NOTICE,
    NEEDS_TEXT,
    NOTICE,
    ON_CARD,
    SCHEMA,
    name_problem,
    strings_for,
)
from toolkit.release.provenance import FILE as PROVENANCE
from toolkit.release.record import at, entries_of, is_inside, text
from toolkit.release.terms import named
from toolkit.release.texts import text_problem

_PARAMETERS = "predicate.buildDefinition.internalParameters"


def obligation_problems(folder: Path, paper: object, statement: object) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) for the obligations of a release; `statement` is its provenance, None when unreadable."""
    if at(paper, "schema") != SCHEMA or not isinstance(at(paper, "obligations"), list):
        yield FILE, f"is not a list of obligations of the schema {SCHEMA}"
        return
    entries = entries_of(paper, "obligations")
    if statement is not None:
        yield from _against_provenance(paper, entries, statement)
    for entry in entries:
        yield from _entry(folder, entry)
    owed = tuple(_obligation(entry) for entry in entries)
    name = text(paper, "release") or ""
    for item in owed:
        if problem := name_problem(item, name):
            yield FILE, f"{item.id}: {problem}"
    yield from _strings(folder, owed)


def _against_provenance(
    paper: object, entries: tuple[Mapping[str, object], ...], statement: object
) -> Iterator[tuple[str, str]]:
    keys = ("id", "license", "clause", "value")
    wanted = {
        tuple(str(entry.get(key)) for key in keys) for entry in entries_of(statement, f"{_PARAMETERS}.obligations")
    }
    listed = {tuple(str(entry.get(key)) for key in keys) for entry in entries}
    for identifier, licence, *_ in sorted(wanted - listed):
        yield FILE, f"{identifier} ({licence}) is owed by the provenance and not listed as it stands there"
    for identifier, licence, *_ in sorted(listed - wanted):
        yield FILE, f"{identifier} ({licence}) is listed and the provenance does not know it"
    for key, other in (("release", "release.name"), ("license", "release.license"), ("verdict", "verdict")):
        if at(paper, key) != at(statement, f"{_PARAMETERS}.{other}"):
            yield (
                FILE,
                f"{key} is {at(paper, key)!r}, and {PROVENANCE} says {at(statement, f'{_PARAMETERS}.{other}')!r}",
            )


def _entry(folder: Path, entry: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    label = f"{entry.get('id')} ({entry.get('license')})"
    if entry.get("status") != "fulfilled":
        yield FILE, f"{label} is not fulfilled"
    if not text(entry, "by"):
        yield FILE, f"{label} does not say by what or whom it was fulfilled"
    evidence = entries_of(entry, "evidence")
    for item in evidence:
        file = text(item, "file") or ""
        if not is_inside(file) or not (folder / file).is_file():
            yield FILE, f"{label} points to {file or 'nothing'}, which is missing"
        elif _digest(folder / file) != text(item, "sha256"):
            yield file, f"is not the file by which {label} was fulfilled: its SHA-256 differs"
    if text(entry, "id") in NEEDS_TEXT:
        texts = [file for item in evidence if (file := text(item, "file") or "").startswith("LICENSES/")]
        if not texts:
            yield FILE, f"{label} has no licence text"
        for file in texts:
            if is_inside(file) and (folder / file).is_file():
                content = (folder / file).read_bytes()
                if wrong := text_problem(text(entry, "license") or "", content):
                    yield file, f"{wrong}, and {label} asks for it"


def _strings(folder: Path, owed: tuple[Obligation, ...]) -> Iterator[tuple[str, str]]:
    """The exact words that licences ask for must stand in NOTICE and on the card."""
    notice, card = _words(folder / NOTICE), _words(folder / CARD)
    for words in strings_for(owed, IN_NOTICE):
        if notice is not None and words not in notice:
            yield NOTICE, f"lacks the required words {words!r}"
    for words in strings_for(owed, ON_CARD):
        if card is not None and verbatim(words) not in re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL):
            yield CARD, f"lacks the required words {words!r}"


def _words(path: Path) -> str | None:
    """The text of a file; None where there is none to read, which the look at every file's digest reports."""
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return None


def _digest(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None


def _obligation(entry: Mapping[str, object]) -> Obligation:
    """An obligation as the paper lists it."""
    return Obligation(
        id=text(entry, "id") or "",
        terms=named(text(entry, "license") or "unknown"),
        clause=text(entry, "clause") or "",
        text=text(entry, "text") or "",
        value=text(entry, "value"),
        check=text(entry, "check") or "attest",
    )
