"""The outline of a licence text: its sentences in order, each with the clause it stands in, as the text numbers itself.

Only the builder reads outlines: it has the layout of the original before it, which a copy may have lost.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from toolkit.licensing.recognition.reading import SOFT_BREAK, Mark, Reading

_MARKER = re.compile(
    r"[\s#>*_\"'•●▪◦·-]*?(?:(?P<chain>\d{1,2}(?:\.\d{1,2}){1,3})\.?\)?(?=[\s\"“*_:]|$|[^\x00-\x7f])"
    r"|(?P<open>\()?(?P<label>\d{1,2}|[A-Za-z]|[ivx]{2,5}|[IVX]{2,5})(?P<close>\)|\.\)?|:)(?![\w.]*\.\w))"
)
_BULLET = re.compile(r"(?P<indent>[ \t]*)[*•●▪◦·-](?=\s)")
_SECTION = re.compile(r"[\s#*_]*(?:section|article)\s+(?P<number>\d{1,2}|[ivx]{1,5})\b\s*(?P<rest>[:.\-–—*_]|$)", re.I)
_ATTACHMENT = re.compile(
    r"[\s#*_]*(?P<word>attachment|exhibit|appendix|schedule|annex)\b\s*(?P<letter>[a-z0-9])?\b[\s:.\-–—*_]*.{0,70}$",
    re.I,
)
_OPEN = re.compile(r"(?:^|(?<!section)(?<!sections)(?<!clause)(?<!paragraph)(?<![\d)])\s)\($", re.I)
_STOP = re.compile(r"[.!?;][\"”')\]*_]*\s|[。；！？]")
_WIDEST = 130  # characters in a line of a text that is wrapped
_ENDED = re.compile(r"[.;:!?。；：！？][\"')\]*_]*$")
_REFERRING_TEXT = """section sections clause clauses paragraph paragraphs article articles and or to of under in version
    subsection attachment exhibit appendix see with at by is the sub-section no than least"""
_REFERRING = frozenset(_REFERRING_TEXT.split())
_ABBREVIATED = "inc ltd co corp llc e g i s u etc v vs art sec mr ms dr cf al viz"
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())


class Sentence(NamedTuple):
    """A piece of a text that is compared as one: words `first` up to `last`, and where it stands."""

    first: int
    last: int
    clause: str
    heading: bool


class Outline(NamedTuple):
    """`optional` are the marks that are list numbering (by index); the others are terms and must be there."""

    sentences: tuple[Sentence, ...]
    optional: frozenset[int]


class _Level:
    """One level of numbering that is open: its kind, its last label, how it is written and how deep it stands."""

    def __init__(self, kind: str, label: str, paren: bool, indent: int) -> None:
        self.kind, self.label, self.paren, self.indent = kind, label, paren, indent


class _Numbering:
    """Follows a text's own numbering from marker to marker."""

    def __init__(self, parens: bool) -> None:
        self.parens = parens  # cited as 2(a)(1), however the text writes its markers
        self.part = ""
        self.attached = False
        self.levels: list[_Level] = []
        self.heading = ""
        self.parts = 1

    def clause(self) -> str:
        shown = ""
        for depth, level in enumerate(self.levels):
            label = level.label
            if self.parens and depth == 3 and len(label) == 1:
                label = label.upper()
            if depth == 0:
                shown = f"({label})" if self.attached else label
            elif self.parens or level.paren:
                shown += f"({label})"
            else:
                shown += f".{label}"
        if not self.part:
            return shown
        return f"{self.part}{shown}" if self.attached else f"{self.part} {shown}".strip()

    def attach(self, part: str) -> None:
        self.part, self.attached, self.levels, self.heading = part, True, [], ""

    def section(self, number: str) -> None:
        if number.isdecimal():
            self.levels = [_Level("num", number, False, 0)]
            if self.attached:
                self.part, self.attached = "", False

    def chain(self, label: str, indent: int) -> None:
        self.levels = [_Level("chain", label, False, indent)]

    def bullet(self, indent: int) -> None:
        for depth in range(len(self.levels) - 1, -1, -1):
            level = self.levels[depth]
            if level.kind == "bullet" and level.indent <= indent:
                if level.indent == indent:
                    level.label = str(int(level.label) + 1)
                    del self.levels[depth + 1 :]
                    return
                break
            if level.kind == "bullet" and level.indent > indent:
                del self.levels[depth:]
        numbered = any(level.kind != "bullet" for level in self.levels)
        self.levels.append(_Level("bullet", "1", numbered, indent))

    def mark(self, label: str, paren: bool, indent: int, blank: bool) -> None:
        fits = [
            depth
            for depth, level in enumerate(self.levels)
            if label in _successors(level) and (level.paren == paren or level.kind == "chain")
        ]
        if len(fits) > 1:
            exact = [depth for depth in fits if self.levels[depth].indent == indent]
            fits = exact or fits
        if fits:
            depth = fits[0] if blank and len(fits) > 1 else fits[-1]
            self.levels[depth].label = label
            self.levels[depth].indent = indent
            if self.levels[depth].kind == "chain":
                self.levels[depth].kind = "num"
            del self.levels[depth + 1 :]
            return
        kind = _kind(label)
        if label in ("1", "a", "A", "i", "I"):
            top = self.levels[0] if self.levels else None
            restarted = top is not None and top.kind == "num" and label == "1" and top.label not in ("1", "2")
            if restarted and (self.heading or (blank and indent <= (top.indent if top else 0))):
                self.parts += 1
                self.part = self.heading or f"part {self.parts}"
                self.levels = []
            while self.levels and self.levels[-1].kind == "bullet":
                self.levels.pop()
            if self.levels and self.levels[-1].kind == kind and self.levels[-1].paren == paren and kind != "num":
                self.levels.pop()
            self.levels.append(_Level(kind, label, paren, indent))
            return
        same = [depth for depth, level in enumerate(self.levels) if level.kind == kind and level.paren == paren]
        if same:
            self.levels[same[-1]].label = label
            del self.levels[same[-1] + 1 :]
        elif kind == "num" and not paren:
            self.levels = [_Level(kind, label, paren, indent)]
        else:
            self.levels.append(_Level(kind, label, paren, indent))

    def unmarked(self, indent: int) -> None:
        """A paragraph without a marker: one that stands further out leaves the inner levels."""
        while len(self.levels) > 1 and self.levels[-1].indent > 0 and indent <= self.levels[-1].indent:
            self.levels.pop()


def outline(reading: Reading, *, parens: bool = False) -> Outline:
    """Find sentences and clauses. `parens`: the licence is cited as 2(a)(1), whatever its markers look like."""
    text = reading.text.replace(SOFT_BREAK, "\n")
    tokens: list[tuple[int, int, int]] = sorted(
        [(start, end, number) for number, (start, end) in enumerate(zip(reading.starts, reading.ends, strict=True))]
        + [(mark.start, mark.end, -1 - number) for number, mark in enumerate(reading.marks)]
    )
    lines = text.split("\n")
    wrapped = _width(lines)
    numbering = _Numbering(parens)
    optional: set[int] = set()
    pieces: list[Sentence] = []
    paragraphs = 0
    numbered = False
    started = False
    first_word = 0
    position = 0
    cursor = 0
    blank = True
    clause, heading = "title", True

    def close(last: int) -> None:
        nonlocal first_word
        if last > first_word:
            pieces.append(Sentence(first_word, last, clause, heading))
            first_word = last

    words_seen = 0
    previous_line = ""
    for row, line in enumerate(lines):
        end_of_line = position + len(line)
        inside = []
        while cursor < len(tokens) and tokens[cursor][0] < end_of_line:
            inside.append(tokens[cursor])
            cursor += 1
        if not inside:
            blank = blank or not line.strip() or bool(re.fullmatch(r"[\s=*_-]+", line))
            position = end_of_line + 1
            continue
        stripped = previous_line.rstrip().rstrip("*_")
        real = (
            blank
            or not stripped
            or _ENDED.search(stripped)
            or stripped.endswith((" and", " or", "; and", "; or"))
            or not wrapped
            or len(previous_line) < 0.6 * wrapped
        )
        words_here = [number for _, _, number in inside if number >= 0]
        last_word = re.findall(r"[\w-]+", stripped.casefold())[-1:]
        refers = (
            not blank
            and not _ENDED.search(stripped)
            and not stripped.endswith(("; and", "; or", ", and", ", or"))
            and len(previous_line) >= 0.6 * wrapped
            and bool(last_word)
            and last_word[0] in _REFERRING
            and bool(wrapped)
        )
        alone = not wrapped or len(line.strip()) < 0.6 * wrapped or row + 1 == len(lines) or not lines[row + 1].strip()
        is_heading = real and alone and _is_heading(line, len(words_here))
        marker = _MARKER.match(line) if real and not refers else None
        section = _SECTION.match(line) if real and not refers and len(inside) < 16 else None
        attachment = _ATTACHMENT.match(line) if real and blank and len(inside) < 14 else None
        indent = len(line) - len(line.lstrip())
        bullet = _BULLET.match(line) if real else None
        if real:
            close(words_seen)
        if marker:
            start, stop = position + marker.start(), position + marker.end()
            label = marker["chain"] or marker["label"]
            if (
                marker["label"] and len(marker["label"]) == 1 and label.isalpha() and not _spaced(line, marker)
            ) or not _plausible(numbering, label, bool(marker["chain"]), numbered):
                marker = None
            else:
                optional.update(-1 - number for at, _, number in inside if number < 0 and start <= at < stop)
        if attachment and not marker:
            letter = (attachment["letter"] or "").upper()
            numbering.attach(f"{attachment['word'].title()} {letter}".strip())
            started = True
        elif section and not marker:
            numbering.section(section["number"])
            numbered = numbered or section["number"].isdecimal()
            started = True
        elif marker:
            numbered = started = True
            label = marker["chain"] or marker["label"]
            if marker["chain"]:
                numbering.chain(label, indent)
            else:
                numbering.mark(label, bool(marker["open"]) or marker["close"] == ")", indent, blank)
            numbering.heading = ""
        elif bullet:
            started = True
            numbering.bullet(len(bullet["indent"].expandtabs(4)))
        elif real and blank:
            if is_heading and started:
                numbering.heading = line.strip(" *#_\t:").title()
            if not is_heading or numbering.levels:
                numbering.unmarked(indent)
        if real and not is_heading and not started:
            started = True
        if real and blank and not is_heading and not marker:
            paragraphs += 1
        if real:
            heading = is_heading and not started
            clause = numbering.clause() or ("title" if heading else f"paragraph {max(paragraphs, 1)}")
        # inside the line: sentence ends, and numbering in parentheses such as “(i)”
        for index, (at, end, number) in enumerate(inside):
            lead = line[: at - position]
            if number < 0 and text[at:end].isalpha() and line[end - position :][:1] == ")" and _OPEN.search(lead):
                optional.add(-1 - number)
            if number >= 0:
                words_seen = number + 1
            following = inside[index + 1][0] - position if index + 1 < len(inside) else len(line)
            gap = line[end - position : following] + ("\n" if index + 1 == len(inside) else "")
            if _STOP.search(gap) and not _abbreviated(text[at:end], gap):
                close(words_seen)
        previous_line = line
        position = end_of_line + 1
        blank = False
    close(words_seen)
    if numbered:
        pieces = [
            piece._replace(clause="introduction") if piece.clause.startswith("paragraph ") else piece
            for piece in pieces
        ]
    return Outline(tuple(pieces), frozenset(optional))


def _width(lines: list[str]) -> int:
    """The width at which a text is wrapped; 0 when every line is a paragraph."""
    short = [len(line) for line in lines if len(line) <= _WIDEST]
    return max(short, default=0) if sum(short) > 0.8 * sum(map(len, lines)) else 0


def _is_heading(line: str, words: int) -> bool:
    text = line.strip(" \t*_#")
    return words <= 14 and len(text) <= 110 and not text.endswith((".", ";", ":", ",", "。", "；", "："))


def _spaced(line: str, marker: re.Match[str]) -> bool:
    return marker.end() >= len(line) or not line[marker.end()].isalnum()


def _plausible(numbering: _Numbering, label: str, chain: bool, numbered: bool) -> bool:
    if chain:
        return True
    if label in ("1", "a", "A", "i", "I"):
        return True
    return numbered or label.isdecimal()


def _abbreviated(word: str, gap: str) -> bool:
    return gap.startswith(".") and word.casefold() in _ABBREVIATIONS


def _kind(label: str) -> str:
    if label.isdecimal():
        return "num"
    if label in ("i", "ii", "iii") or (len(label) > 1 and label.islower()):
        return "roman"
    if label in ("I", "II", "III") or (len(label) > 1 and label.isupper()):
        return "ROMAN"
    return "upper" if label.isupper() else "lower"


def _successors(level: _Level) -> tuple[str, ...]:
    if level.kind in ("num",):
        return (str(int(level.label) + 1),)
    if level.kind == "chain":
        return (str(int(level.label.split(".")[0]) + 1),)
    if level.kind in ("lower", "upper"):
        return (chr(ord(level.label[-1]) + 1),)
    if level.kind in ("roman", "ROMAN"):
        numerals = [
            "i",
            "ii",
            "iii",
            "iv",
            "v",
            "vi",
            "vii",
            "viii",
            "ix",
            "x",
            "xi",
            "xii",
            "xiii",
            "xiv",
            "xv",
            "xvi",
        ]
        at = numerals.index(level.label.lower()) if level.label.lower() in numerals else len(numerals)
        following = numerals[at + 1] if at + 1 < len(numerals) else ""
        return (following if level.kind == "roman" else following.upper(),)
    return ()


def required(reading: Reading, found: Outline) -> list[tuple[int, Mark]]:
    """The marks that are terms: numbers, references to other clauses, the article “a”."""
    return [(number, mark) for number, mark in enumerate(reading.marks) if number not in found.optional]
