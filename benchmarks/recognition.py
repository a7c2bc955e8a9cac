"""How well licences are recognised: every text of a folder, unchanged in other clothes and changed in its words.

    python benchmarks/recognition.py FOLDER [--edits 6] [--seed 1] [--against FOLDER_OF_FINGERPRINTS] [--scancode]

FOLDER holds licence texts as `<id>.txt`; their fingerprints are built into a temporary folder unless --against names
one. Prints a table, then the cases that went wrong. Ends with 1 when a harmless change is not answered with the right
id and unmodified, when an edit passes as unmodified, or when fewer than 95 % of the edits name their clause or field. ScanCode
is timed beside tk with --scancode, when it is installed.
"""

from __future__ import annotations

import argparse
import collections
import html
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.field_edits import measure_fields, siblings_apart  # noqa: E402
from toolkit.licensing.recognition.build import COPIES, build  # noqa: E402
from toolkit.licensing.recognition.outline import outline  # noqa: E402
from toolkit.licensing.recognition.prints import Fingerprints  # noqa: E402
from toolkit.licensing.recognition.reading import Reading, read  # noqa: E402
from toolkit.licensing.recognition.recognise import _found, recognise  # noqa: E402
from toolkit.licensing.recognition.sources import text_of  # noqa: E402

STRANGE = "certain other mutual solely weekly orange seven governmental before beneath annual private"
WORDS = STRANGE.split()
CLAUSE = "The Materials may be used for non-commercial purposes only and never by competitors of the Licensor."


def paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n[^\S\n]*\n+", text.replace("\r\n", "\n")) if part.strip()]


def reflowed(text: str, width: int) -> str:
    return "\n\n".join(
        textwrap.fill(" ".join(part.split()), width, break_long_words=False) for part in paragraphs(text)
    )


def by_line(text: str, change: Callable[[str], str]) -> str:
    return "\n".join(change(line) for line in text.replace("\r\n", "\n").split("\n"))


def markdown(text: str) -> str:
    def dressed(line: str) -> str:
        if not line.strip() or line.strip().startswith("#"):
            return line
        if len(line.split()) < 8 and line.strip()[-1] not in ".;:,":
            return f"## {line.strip()}"
        words = line.split(" ")
        return " ".join(
            f"**{word}**" if number % 9 == 4 and word.isalpha() else word for number, word in enumerate(words)
        )

    return by_line(text, dressed)


def hyperlinked(text: str) -> str:
    return re.sub(r"(?<![\[(\w/.])https?://[\w./-]*\w(?![\w\])])", lambda match: f"[{match[0]}]({match[0]})", text)


def as_html(text: str) -> str:
    parts = "\n".join(f"<p>{html.escape(part).replace(chr(10), '<br/>' + chr(10))}</p>" for part in paragraphs(text))
    return f"<!DOCTYPE html>\n<html><head><title></title></head><body>\n{parts}\n</body></html>\n"


MARKER = re.compile(r"(\A|\n[^\S\n]*\n|[.;:]\n|(?:and|or)\n)([ \t]*)\(?(\d{1,2}|[a-z])[.)](?=\s)")
SMART = {"'": "’", '"': "”", "--": "—"}
PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-"})


def smart(text: str) -> str:
    for plain, typographic in SMART.items():
        text = text.replace(plain, typographic)
    return text


HARMLESS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "wrapped at 50": lambda text: reflowed(text, 50),
    "wrapped at 72": lambda text: reflowed(text, 72),
    "wrapped at 100": lambda text: reflowed(text, 100),
    "one line a paragraph": lambda text: reflowed(text, 10**6),
    "smart quotes and dashes": smart,
    "straight quotes": lambda text: text.translate(PLAIN),
    "Markdown": markdown,
    "Markdown links": hyperlinked,
    "HTML": as_html,
    "CRLF": lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n"),
    "BOM": lambda text: "\ufeff" + text,
    "upper case": str.upper,
    "lower case": str.lower,
    "markers as (a)": lambda text: MARKER.sub(r"\1\2(\3)", text.replace("\r\n", "\n")),
    "markers as a)": lambda text: MARKER.sub(r"\1\2\3)", text.replace("\r\n", "\n")),
    "markers as bullets": lambda text: MARKER.sub(r"\1\2-", text.replace("\r\n", "\n")),
    "markers left out": lambda text: MARKER.sub(r"\1\2", text.replace("\r\n", "\n")),
    "commented with #": lambda text: by_line(text, lambda line: f"# {line}"),
    "commented with //": lambda text: by_line(text, lambda line: f"// {line}"),
    "commented with *": lambda text: "/*\n" + by_line(text, lambda line: f" * {line}") + "\n */\n",
    "blank lines between lines": lambda text: text.replace("\r\n", "\n").replace("\n", "\n\n"),
    "indented": lambda text: by_line(text, lambda line: f"        {line}"),
    "no indentation": lambda text: by_line(text, str.strip),
    "title in front": lambda text: f"License\n\n{text}",
    "holder in front": lambda text: f"Copyright (c) 2026 Example Industries GmbH\n\n{text}",
}


class Edit:
    """One edit of a text and the clauses that may be named for it."""

    def __init__(self, text: str, clauses: set[str], what: str) -> None:
        self.text, self.clauses, self.what = text, clauses, what


def edits(identifier: str, text: str, dice: random.Random, count: int) -> Iterator[tuple[str, Edit]]:
    """Edits of every kind at random sentences. Titles and what a copy may lack are left alone."""
    from toolkit.licensing.recognition.build import fingerprint

    known = fingerprint(identifier, text)
    reading = read(text)
    pieces = outline(reading, parens=identifier.startswith("cc-by")).sentences
    whole = [number for number, piece in enumerate(pieces) if known.parts[number] != "loose"]
    chosen = [number for number in whole if pieces[number].last - pieces[number].first > 4]
    for kind in ("word", "negation put in", "sentence left out", "sentence added"):
        picked = dice.sample(chosen, min(count, len(chosen)))
        if kind == "sentence added":
            picked = [-1, len(pieces) - 1, *picked[: max(0, count - 2)]]
        for number in picked:
            yield kind, edit(kind, reading, pieces, number, dice)
    numbered = [
        (index, mark)
        for index, mark in enumerate(known.marks)
        if not mark.optional and mark.value.isdecimal() and known.parts[mark.sentence] != "loose"
    ]
    for index, mark in dice.sample(numbered, min(count, len(numbered))):
        found = reading.marks[index]
        other = str(int(mark.value) // 10 if len(mark.value) > 1 and int(mark.value) >= 10 else int(mark.value) + 1)
        yield (
            "number changed",
            Edit(
                reading.text[: found.start] + other + reading.text[found.end :],
                {known.clauses[mark.sentence]},
                f"{mark.value} → {other}",
            ),
        )
    references = [
        (index, mark)
        for index, mark in enumerate(known.marks)
        if not mark.optional and mark.value.isalpha() and len(mark.value) == 1 and known.parts[mark.sentence] != "loose"
    ]
    for index, mark in dice.sample(references, min(count, len(references))):
        found = reading.marks[index]
        other = "the" if mark.value == "a" else chr(ord(mark.value) + 1)
        yield (
            "letter changed",
            Edit(
                reading.text[: found.start] + other + reading.text[found.end :],
                {known.clauses[mark.sentence]},
                f"{mark.value} → {other}",
            ),
        )
    nots = [
        (number, word)
        for number in whole
        for word in range(pieces[number].first, pieces[number].last)
        if reading.words[word] == "not"
    ]
    for number, word in dice.sample(nots, min(count, len(nots))):
        start, end = reading.starts[word], reading.ends[word]
        yield (
            "negation left out",
            Edit(
                reading.text[:start] + reading.text[end + 1 :],
                {pieces[number].clause},
                reading.quote(word - 1, word + 3),
            ),
        )


def edit(kind: str, reading: Reading, pieces: tuple, number: int, dice: random.Random) -> Edit:
    text = reading.text
    piece = pieces[max(number, 0)]
    end = reading.ends[piece.last - 1]
    while end < len(text) and text[end] in ".;:,!?)]\"'*。；：！？":
        end += 1
    if kind == "word":
        word = dice.randrange(piece.first, piece.last)
        new = dice.choice([choice for choice in WORDS if choice != reading.words[word]])
        return Edit(
            text[: reading.starts[word]] + new + text[reading.ends[word] :],
            {piece.clause},
            f"{reading.words[word]} → {new}",
        )
    if kind == "negation put in":
        word = dice.randrange(piece.first, piece.last)
        return Edit(
            text[: reading.ends[word]] + " not" + text[reading.ends[word] :],
            {piece.clause},
            f"{reading.words[word]} not",
        )
    if kind == "sentence left out":
        return Edit(
            text[: reading.starts[piece.first]] + text[end:],
            {piece.clause},
            reading.quote(piece.first, piece.last)[:80],
        )
    if number < 0:
        return Edit(
            f"{CLAUSE}\n\n{text}", {pieces[0].clause, "title", "introduction", "paragraph 1"}, "at the beginning"
        )
    beside = {piece.clause} | ({pieces[number + 1].clause} if number + 1 < len(pieces) else set())
    return Edit(f"{text[:end]}\n\n{CLAUSE}\n\n{text[end:]}", beside, f"after {text[max(0, end - 40) : end]!r}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edits", type=int, default=6, help="of each kind, for each text")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--scancode", action="store_true")
    parser.add_argument("--strangers", action="store_true", help="how near each text is to the other licences")
    parser.add_argument("--fields", action="store_true", help="edits of fields and pairs of siblings only")
    parser.add_argument("--show", type=int, default=40, help="cases that went wrong, at most")
    options = parser.parse_args()
    texts = {path.stem: text_of(path.read_bytes(), str(path)) for path in sorted(options.folder.glob("*.txt"))}
    with tempfile.TemporaryDirectory() as folder:
        if not options.against:
            build(options.folder, Path(folder))
        prints = Fingerprints(options.against or Path(folder))
        if options.strangers:
            strangers(texts, prints)
            return 0
        if options.fields:
            wrong, failed = [], False
        else:
            wrong, failed = measure(texts, prints, options.edits, options.seed)
        for more, worse in (measure_fields(texts, prints, options.seed), siblings_apart(texts, prints)):
            wrong += more
            failed |= worse
    for line in wrong[: options.show]:
        print(line)
    if len(wrong) > options.show:
        print(f"… and {len(wrong) - options.show} more")
    if options.scancode:
        beside_scancode(options.folder)
    return int(failed)


def measure(texts: dict[str, str], prints: Fingerprints, count: int, seed: int) -> tuple[list[str], bool]:
    wrong: list[str] = []
    failed = False
    print(
        f"{len(texts)} texts; seed {seed}\n\n{'harmless':28} {'texts':>6} {'right id':>9} {'unmodified':>11} {'ms':>6}"
    )
    for name, change in HARMLESS.items():
        right = unmodified = 0
        times = []
        for identifier, text in texts.items():
            expected = COPIES.get(identifier, identifier)
            changed = change(text)
            began = time.process_time()
            answer = recognise(changed, prints)
            times.append(time.process_time() - began)
            right += answer.id == expected
            unmodified += answer.id is not None and not answer.modified
            if answer.id != expected or answer.modified:
                shown = "; ".join(
                    f"{one.kind} {one.clause} {one.original_numbers or ''} “{one.text[:90]}”"
                    for one in answer.changes[:3]
                )
                wrong.append(f"[{name}] {identifier}: {answer.id} {answer.similarity} {shown}")
        failed |= right < len(texts) or unmodified < len(texts)
        print(
            f"{name:28} {len(texts):6} {right / len(texts):9.1%} {unmodified / len(texts):11.1%}"
            f" {1000 * statistics.median(times):6.1f}"
        )
    dice = random.Random(seed)
    totals: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    spent: dict[str, list[float]] = collections.defaultdict(list)
    for identifier, text in texts.items():
        expected = COPIES.get(identifier, identifier)
        for kind, one in edits(identifier, text, dice, count):
            began = time.process_time()
            answer = recognise(one.text, prints)
            spent[kind].append(time.process_time() - began)
            sibling = not answer.modified and answer.id not in (expected, None)
            flagged = answer.modified or sibling
            named = sibling or bool(one.clauses & {change.clause for change in answer.changes})
            alone = len(answer.changes) == 1
            totals[kind].update(edits=1, flagged=flagged, named=named, id=answer.id == expected or sibling, alone=alone)
            if not (flagged and named and (answer.id == expected or sibling)):
                shown = "; ".join(
                    f"{change.kind} {change.clause} “{change.text[:60]}”" for change in answer.changes[:4]
                )
                wrong.append(
                    f"[{kind}] {identifier} {sorted(one.clauses)} {one.what!r}: {answer.id} {answer.similarity} {shown}"
                )
    print(f"\n{'edit':28} {'edits':>6} {'right id':>9} {'flagged':>9} {'clause':>8} {'one change':>11} {'ms':>6}")
    sums: collections.Counter[str] = collections.Counter()
    for kind, total in totals.items():
        sums.update(total)
        print_row(kind, total, statistics.median(spent[kind]))
    print_row("all", sums, statistics.median([second for seconds in spent.values() for second in seconds]))
    failed |= sums["flagged"] < sums["edits"] or sums["named"] < 0.95 * sums["edits"]
    print()
    return wrong, failed


def print_row(name: str, total: collections.Counter[str], seconds: float) -> None:
    count = total["edits"]
    shares = [total[key] / count for key in ("id", "flagged", "named", "alone")]
    print(
        f"{name:28} {count:6} {shares[0]:9.1%} {shares[1]:9.1%} {shares[2]:8.1%} {shares[3]:11.1%}"
        f" {1000 * seconds:6.1f}"
    )


def strangers(texts: dict[str, str], prints: Fingerprints) -> None:
    """Each text with its own fingerprint hidden: what the threshold between a copy and another licence rests on."""
    everything = prints.sketches
    nearest = []
    for identifier, text in texts.items():
        prints._sketches = tuple(sketch for sketch in everything if sketch.id != COPIES.get(identifier, identifier))
        _, seen = _found(read(text), prints)
        best = max(seen, key=lambda one: one.similarity, default=None)
        nearest.append((best.similarity if best else 0.0, identifier, best.id if best else "nothing"))
    prints._sketches = everything
    for similarity, identifier, other in sorted(nearest, reverse=True):
        print(f"{similarity:7.3f}  {identifier:32} {other}")


def beside_scancode(folder: Path) -> None:
    """One file asked of tk and of ScanCode, each in a process of its own."""
    scancode = shutil.which("scancode")
    if not scancode:
        print("ScanCode is not installed: skipped")
        return
    path = max(folder.glob("*.txt"), key=lambda path: path.stat().st_size)
    for name, command in (
        ("tk", [sys.executable, "-m", "toolkit", "licenses", "identify", str(path), "--format", "json"]),
        ("ScanCode", [scancode, "--license", "--quiet", "--json", "-", str(path)]),
    ):
        began = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        print(f"{name}: {path.name} in {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    raise SystemExit(main())
