"""Build the fingerprints that ship, from a folder of licence texts that do not.

    python -m toolkit.licensing.recognition.build FOLDER_OF_TEXTS [FINGERPRINTS]

Every `<id>.txt` becomes `<id>.json`; `index.json` and `sketches.json` are made beside them. The second folder is
`licenses/fingerprints` when it is not given. Files of licences that the first folder lacks are removed.
"""

from __future__ import annotations

import binascii
import json
import sys
from array import array
from pathlib import Path

from toolkit.errors import TkError, UsageError
from toolkit.files.atomic import write_text
from toolkit.files.shipped import shipped
from toolkit.licensing.recognition.exact import plain_digest
from toolkit.licensing.recognition.fields import extract
from toolkit.licensing.recognition.outline import Outline, outline
from toolkit.licensing.recognition.prints import (
    FORMAT,
    LOOSE,
    Fingerprint,
    RefField,
    RefMark,
    codes_of,
    digest,
    encoded,
    sampled,
    sentence_digest,
    shingles_of,
)
from toolkit.licensing.recognition.reading import Reading, read
from toolkit.licensing.recognition.sources import text_of

# Texts that are another licence with a holder filled in: that one's fingerprint stands for them.
COPIES = {"deepseek-r1-mit": "mit"}

# Parts that a copy may lack as a whole: what licence, how the first sentence of the part begins, how the first sentence
# after it does ("" is the end of the text). Case does not count; a licence is named by the beginning of its id.
BLOCKS = (
    ("llama-3", "Meta Llama 3 Acceptable Use Policy", ""),
    ("cc-", "Creative Commons Corporation", "Creative Commons Attribution"),
    ("cc-", "Creative Commons is not a party to", ""),
    ("cc-by-3.0", "Creative Commons Corporation", "License"),
    ("cc-by-sa-3.0", "Creative Commons Corporation", "License"),
    ("cc0", "Creative Commons Corporation", "Statement of Purpose"),
)
# Parts of which a copy may lack any sentence, by clause: instructions for applying the licence.
INSTRUCTIONS = (("apache-2.0", "Appendix"),)
CITED_WITH_PARENTHESES = ("cc-by",)  # as 2(a)(1)(A), though their markers are a., 1., a.


def fingerprint(identifier: str, text: str) -> Fingerprint:
    """The fingerprint of one text."""
    reading = read(text)
    found = outline(reading, parens=identifier.startswith(CITED_WITH_PARENTHESES))
    offsets = [reading.offsets[piece.last] for piece in found.sentences]
    starts = [reading.offsets[piece.first] for piece in found.sentences]
    return Fingerprint(
        identifier,
        codes_of(reading.words),
        tuple(piece.last for piece in found.sentences),
        tuple(offsets),
        tuple(sentence_digest(reading.letters[a:b]) for a, b in zip(starts, offsets, strict=True)),
        tuple(piece.clause for piece in found.sentences),
        _parts(identifier, reading, found),
        tuple(_marks(reading, found)),
        tuple(
            RefField(field.kind, field.value, field.sentence, field.first, field.last)
            for field in extract(reading, found)
        ),
    )


def _marks(reading: Reading, found: Outline) -> list[RefMark]:
    marks = []
    number = 0
    for index, mark in enumerate(reading.marks):
        while number + 1 < len(found.sentences) and reading.offsets[found.sentences[number].last] < mark.offset:
            number += 1
        sentence = number
        if reading.offsets[found.sentences[number].last] == mark.offset and number + 1 < len(found.sentences):
            here = found.sentences[number]
            inside = mark in reading.marks_between(here.first, here.last) and index not in found.optional
            sentence = number if inside else number + 1
        optional = index in found.optional
        marks.append(RefMark(mark.offset, mark.value, optional, not mark.marker, sentence))
    return marks


def _parts(identifier: str, reading: Reading, found: Outline) -> tuple[str, ...]:
    parts = [LOOSE if piece.heading else "" for piece in found.sentences]
    quotes = [reading.quote(piece.first, piece.last).casefold() for piece in found.sentences]
    for number, (prefix, begins, ends) in enumerate(BLOCKS):
        if not identifier.startswith(prefix) or (prefix == "llama-3" and identifier != "llama-3"):
            continue
        first = next((at for at, quote in enumerate(quotes) if quote.startswith(begins.casefold())), None)
        if first is None:
            continue
        last = len(quotes)
        if ends:
            last = next((at for at in range(first + 1, len(quotes)) if quotes[at].startswith(ends.casefold())), first)
        parts[first:last] = [f"block {number}"] * (last - first)
    for prefix, clause in INSTRUCTIONS:
        if identifier.startswith(prefix):
            parts = [
                LOOSE if piece.clause.startswith(clause) else part
                for piece, part in zip(found.sentences, parts, strict=True)
            ]
    return tuple(parts)


def wholes(known: Fingerprint) -> list[tuple[int, int]]:
    """The stretches of sentences that are the whole licence: with and without its optional ends."""
    count = len(known.ends)
    heads, tails = {0}, {count}
    at = 0
    while at < count and known.parts[at]:
        at += 1
        if at == count or known.parts[at] != known.parts[at - 1] or known.parts[at] == LOOSE:
            heads.add(at)
    at = count
    while at > 0 and known.parts[at - 1]:
        at -= 1
        if at == 0 or known.parts[at - 1] != known.parts[at]:
            tails.add(at)
    return [
        (head, tail) for head in sorted(heads) for tail in sorted(tails) if head < tail and tail - head > count // 3
    ]


def build(texts: Path, target: Path) -> list[str]:
    """Write the fingerprints of every text of a folder; give their ids. Raises TkError when there are none."""
    paths = sorted(texts.glob("*.txt"))
    if not paths:
        raise TkError("no *.txt in this folder", where=str(texts), hint="name a folder of licence texts")
    index: dict[str, list[list[object]]] = {}
    lengths: set[int] = set()
    sketches: dict[str, list[object]] = {}
    plain: dict[str, str] = {}
    for path in paths:
        text = text_of(path.read_bytes(), str(path))
        plain[plain_digest(text)] = COPIES.get(path.stem, path.stem)
        if path.stem in COPIES:
            continue
        known = fingerprint(path.stem, text)
        reading = read(text)
        for head, tail in wholes(known):
            letters = reading.letters[known.offset(head) : known.letters[tail - 1]]
            lengths.add(len(letters))
            index.setdefault(digest(letters), []).append([known.id, head, tail])
        shingles = array("I", sampled(shingles_of(reading.words)))
        if sys.byteorder == "big":
            shingles.byteswap()
        sketches[known.id] = [len(reading.words), binascii.b2a_base64(shingles.tobytes(), newline=False).decode()]
        _write(target / f"{known.id}.json", encoded(known))
    _write(target / "index.json", {"format": FORMAT, "lengths": sorted(lengths), "texts": index})
    _write(target / "sketches.json", {"format": FORMAT, "texts": sketches})
    _write(target / "plain.json", plain)
    for path in target.glob("*.json"):
        if path.stem not in {*sketches, "index", "sketches", "plain"}:
            path.unlink()
    return sorted(sketches)


def _write(path: Path, value: object) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def main(arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 2:
        raise UsageError("python -m toolkit.licensing.recognition.build FOLDER_OF_TEXTS [FINGERPRINTS]")
    target = Path(arguments[1]) if len(arguments) > 1 else shipped("licenses") / "fingerprints"
    made = build(Path(arguments[0]), target)
    sys.stderr.write(f"{len(made)} fingerprints in {target}\n")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except TkError as error:
        sys.stderr.write(f"Error: {error.message}" + (f" ({error.where})" if error.where else "") + "\n")
        raise SystemExit(error.exit_code) from error
