"""Fingerprints of licence texts: what ships instead of the texts.

A fingerprint has one byte per word (a hash of which many words share each value), a hash for every sentence with the
clause it stands in, and the marks (numbers, references, numbering). A text can be compared with it, and cannot be read
out of it. Two small files stand before the fingerprints: `index.json`, hashes of whole texts, which is all that an
unmodified copy needs; and `sketches.json`, a sample of each text's word sequences, which finds the nearest.
"""

from __future__ import annotations

import binascii
import json
import sys
from array import array
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from toolkit.errors import TkError

FORMAT = 2
SHINGLE = 4  # words in a row that a sketch samples
_SAMPLE = 7  # one shingle in eight is kept
_FEWEST = 24  # and at least so many of a short text
LOOSE = "loose"  # may be missing: titles, instructions for using the licence


class RefMark(NamedTuple):
    """A mark of the original: letters before it, its value, whether it is only numbering, its sentence. `bare`: it is
    written without the full stop or bracket of a marker."""

    offset: int
    value: str
    optional: bool
    bare: bool
    sentence: int


class RefField(NamedTuple):
    """A field of the original: its kind, its value in canonical form, its sentence, its words. A sentence of -1 is a
    copyright line, whose words are not counted."""

    kind: str
    value: str
    sentence: int
    first: int
    last: int


class Fingerprint(NamedTuple):
    """One licence text. Sentence i is words `ends[i - 1]` up to `ends[i]` and letters `letters[i - 1]` up to
    `letters[i]`. `parts[i]` is "" for what must be there, `loose`, or the name of a block that may be missing whole."""

    id: str
    codes: bytes
    ends: tuple[int, ...]
    letters: tuple[int, ...]
    hashes: tuple[str, ...]
    clauses: tuple[str, ...]
    parts: tuple[str, ...]
    marks: tuple[RefMark, ...]
    fields: tuple[RefField, ...] = ()

    def start(self, sentence: int) -> int:
        return self.ends[sentence - 1] if sentence else 0

    def offset(self, sentence: int) -> int:
        return self.letters[sentence - 1] if sentence else 0


class Whole(NamedTuple):
    """A whole text, or one without its optional ends: sentences `first` up to `last` of a licence."""

    id: str
    first: int
    last: int


class Sketch(NamedTuple):
    """A licence's length in words and the sample of its shingles, in the order of the text."""

    id: str
    words: int
    shingles: array[int]


def codes_of(words: list[str]) -> bytes:
    """One byte for each word."""
    return bytes([crc32(word.encode()) & 0xFF for word in words])


def digest(letters: str) -> str:
    """The hash of a stretch of letters."""
    return blake2b(letters.encode(), digest_size=8).hexdigest()


def sentence_digest(letters: str) -> str:
    return binascii.b2a_base64(blake2b(letters.encode(), digest_size=6).digest(), newline=False).decode()


def shingles_of(words: list[str]) -> list[int]:
    """The hash of every run of SHINGLE words, in order."""
    hashes = [crc32(word.encode()) for word in words]
    # a polynomial over the words' hashes: one multiplication a word, whatever SHINGLE is
    return [
        (a * 1000003 ^ b * 8191 ^ c * 131 ^ d) * 2654435761 >> 7 & 0xFFFFFFFF
        for a, b, c, d in zip(hashes, hashes[1:], hashes[2:], hashes[3:], strict=False)
    ]


def sampled(shingles: list[int]) -> list[int]:
    """The shingles that a sketch keeps, in order."""
    kept = [shingle for shingle in shingles if not shingle & _SAMPLE]
    if len(kept) >= _FEWEST:
        return kept
    bound = sorted(shingles, key=lambda shingle: shingle & 0xFF)[:_FEWEST]
    chosen = set(bound)
    return [shingle for shingle in shingles if shingle in chosen]


class Fingerprints:
    """The fingerprints of one folder, read as they are needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: dict[str, tuple[Whole, ...]] | None = None
        self._lengths: frozenset[int] = frozenset()
        self._sketches: tuple[Sketch, ...] | None = None
        self._prints: dict[str, Fingerprint] = {}

    def wholes(self, letters: str) -> tuple[Whole, ...]:
        """The licences whose letters are exactly these."""
        if self._index is None:
            raw = self._read("index")
            self._lengths = frozenset(raw["lengths"])
            self._index = {key: tuple(Whole(*entry) for entry in entries) for key, entries in raw["texts"].items()}
        if len(letters) not in self._lengths:
            return ()
        return self._index.get(digest(letters), ())

    @property
    def sketches(self) -> tuple[Sketch, ...]:
        if self._sketches is None:
            raw = self._read("sketches")
            made = []
            for identifier, (words, encoded) in raw["texts"].items():
                shingles = array("I")
                shingles.frombytes(binascii.a2b_base64(encoded))
                if sys.byteorder == "big":
                    shingles.byteswap()
                made.append(Sketch(identifier, words, shingles))
            self._sketches = tuple(made)
        return self._sketches

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sketch.id for sketch in self.sketches)

    def get(self, identifier: str) -> Fingerprint:
        """The fingerprint of one licence."""
        if identifier not in self._prints:
            self._prints[identifier] = decoded(identifier, self._read(identifier))
        return self._prints[identifier]

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / f"{name}.json"
        try:
            raw: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            hint = "reinstall tk, or build them: python -m toolkit.licensing.recognition.build FOLDER_OF_TEXTS"
            raise TkError("the fingerprints of licences cannot be read", where=str(path), hint=hint) from error
        if raw.get("format") != FORMAT:
            raise TkError(f"fingerprints of another format than {FORMAT}", where=str(path), hint="build them again")
        return raw


@cache
def fingerprints(folder: Path) -> Fingerprints:
    """The fingerprints that stand beside the licences of a library: `fingerprints(library.folder / "fingerprints")`."""
    return Fingerprints(folder)


def encoded(found: Fingerprint) -> dict[str, object]:
    """A fingerprint as JSON: see `decoded`."""
    clauses = list(dict.fromkeys(found.clauses))
    return {
        "format": FORMAT,
        "id": found.id,
        "codes": binascii.b2a_base64(found.codes, newline=False).decode(),
        "ends": list(found.ends),
        "letters": list(found.letters),
        "hashes": "".join(found.hashes),
        "clauses": clauses,
        "in": [clauses.index(clause) for clause in found.clauses],
        "parts": {str(number): part for number, part in enumerate(found.parts) if part},
        "marks": " ".join(
            f"{mark.offset}:{mark.value}:{mark.sentence}{'o' if mark.optional else ''}{'b' if mark.bare else ''}"
            for mark in found.marks
        ),
        "fields": _encoded_fields(found.fields),
    }


def _encoded_fields(fields: tuple[RefField, ...]) -> dict[str, dict[str, str]]:
    """The places of each value of each kind, as `first:last:sentence`."""
    kinds: dict[str, dict[str, str]] = {}
    for field in fields:
        values = kinds.setdefault(field.kind, {})
        place = f"{field.first}:{field.last}:{field.sentence}"
        values[field.value] = f"{values[field.value]} {place}" if field.value in values else place
    return kinds


def _decoded_fields(raw: dict[str, dict[str, str]]) -> tuple[RefField, ...]:
    fields = []
    for kind, values in raw.items():
        for value, stands in values.items():
            for place in stands.split():
                first, last, sentence = (int(number) for number in place.split(":"))
                fields.append(RefField(kind, value, sentence, first, last))
    return tuple(fields)


def decoded(identifier: str, raw: dict[str, Any]) -> Fingerprint:
    """A fingerprint from JSON."""
    hashes, clauses, parts = str(raw["hashes"]), raw["clauses"], raw["parts"]
    numbers = raw["in"]
    marks = []
    for entry in str(raw["marks"]).split():
        offset, value, sentence = entry.split(":")
        kind = sentence.lstrip("0123456789")
        marks.append(RefMark(int(offset), value, "o" in kind, "b" in kind, int(sentence[: len(sentence) - len(kind)])))
    return Fingerprint(
        identifier,
        binascii.a2b_base64(str(raw["codes"])),
        tuple(raw["ends"]),
        tuple(raw["letters"]),
        tuple(hashes[at : at + 8] for at in range(0, len(hashes), 8)),
        tuple(clauses[number] for number in numbers),
        tuple(parts.get(str(number), "") for number in range(len(numbers))),
        tuple(marks),
        _decoded_fields(raw["fields"]),
    )
