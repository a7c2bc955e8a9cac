"""A text as recognition sees it: its words in order, and beside them the marks that may be list numbering.

What does not change the terms is folded here: case, white space, wrapping, punctuation, quotes, dashes, Unicode forms,
Markdown, HTML, comment markers. Nothing depends on where lines end, so a text reads the same at every width.

*Marks* are the tokens that can be a list marker: digits, single letters, small Roman numerals. They stand apart from
the words, because “4.” at the head of a clause is layout and “20” before “million” is a term. Which of the two a mark
is only the fingerprint knows, so both are kept, each with its place in the words.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from typing import NamedTuple

SOFT_BREAK = "\x1e"  # where HTML breaks a line: a line end that the line numbers of the file do not count

_TOKEN = re.compile(
    r"[^\W_]+(?:'[^\W_]+)*|[$€£¥%&]"
    r"|(?<=[^\s>] )[<>≤≥](?=\s?[$€£¥\d])"  # a comparison, and neither a tag nor a quoted line
    r"|(?<!~)~~(?!~)"  # struck out: the words are there and do not hold
)
_ROMAN = frozenset(
    f"{tens}{ones}"
    for tens in ("", "x", "xx", "xxx")
    for ones in ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
) - {""}
_SCHEMES = frozenset({"http", "https", "www"})
_QUOTES = str.maketrans({
    **dict.fromkeys("‘’‛ʼ´`", "'"), "©": "(c)", "℗": "(p)", "\f": " ", "\v": " ", "\r": "\n", "\x85": " ", "\x1e": " ",
    **dict.fromkeys("™®\xad\u200b\u200c\u200d\u2060\ufeff", None),
})  # fmt: skip
_KEPT_BREAKS = {code: new for code, new in _QUOTES.items() if chr(code) != SOFT_BREAK}
_BLOCK = (
    "address|article|blockquote|body|br|center|dd|div|dl|dt|footer|h[1-6]|head|header|hr|html|li|main|ol|p|pre|section|"
    "table|tbody|td|th|thead|title|tr|ul"
)
_INLINE = "a|abbr|b|big|cite|code|em|font|i|img|kbd|link|mark|meta|q|small|span|strong|sub|sup|tt|u|var"
_TAG = re.compile(rf"<(?:/?(?:(?P<block>{_BLOCK})|{_INLINE})(?:[\s/][^<>]{{0,1000}})?|!doctype[^<>]{{0,200}})>", re.I)
_HIDDEN = re.compile(r"<(/?)(style|script)\b[^<>]{0,1000}>", re.I)
_LINK = re.compile(
    r"!?\[([^\[\]]{0,400})\]\n?\(\s{0,9}(?:[^()\s]{1,600}|(?:https?:|mailto:|www\.)[^()]{1,900})"
    r"(?:\s\"[^\"\n]{0,100}\")?\)"
)
_ESCAPE = re.compile(r"\\(?=[!-/:-@\[-`{-~])")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_BREAK = re.compile(r"[.;:!?][\"')\]*_]*\s|[。；：！？\x1e]|\n[^\w\n]*\n")  # a sentence or paragraph can end here
_COPYRIGHT_LINE = re.compile(
    r"(?:^|(?<=\x1e))[^\w\n\x1e(]{0,24}(?:copyright|\(c\))[^\n\x1e]{0,240}(?:$|(?=\x1e))", re.I | re.M
)
_FORM = re.compile(
    r"copyright\s{0,4}(?:\(c\)\s{0,4})?[\[<{](?:yyyy|year)[\]>}],?\s{0,4}[\[<{][^\[\]<>{}]{0,80}[\]>}]", re.I
)  # the blank of a notice
_WORD = re.compile(r"[^\W_]")
_BLANK_LINE = re.compile(r"\n[^\w\n]*(?:\n|\Z)|\Z")
_ADDRESS = re.compile(r"[^\W_][./_%=?&-][^\W_]")
_YEAR = re.compile(r"(?:19|20)\d\d|yyyy|<year>|\[year\]|\{year\}", re.I)

# Words that no mere copyright notice, title or footer carries: whoever writes them says something about rights.
_TELLING_TEXT = """not no non only never without except unless may must shall will can cannot should
    commercial noncommercial research use used uses using user permit permitted permission prohibited
    forbidden allowed require required grant granted subject provided if however sell sale distribute
    distribution modify derivative you your revoke terminate liable warranty obligation restriction restricted
    restrictions limited licensed approval consent fee pay royalty"""
TELLING = frozenset(_TELLING_TEXT.split())


class Mark(NamedTuple):
    """A token that can be list numbering: its place in the letters, its value, whether it looks like a marker here."""

    offset: int  # letters of words before it
    value: str
    marker: bool
    start: int
    end: int


def _start(mark: Mark) -> int:
    return mark.start


class Reading(NamedTuple):
    """A text read. `letters` are the words run together; word i is `letters[offsets[i]:offsets[i + 1]]` and stands at
    `text[starts[i]:ends[i]]`. `text` is the file's text without markup; its line ends are the file's."""

    text: str
    words: list[str]
    starts: list[int]
    ends: list[int]
    offsets: list[int]
    letters: str
    marks: list[Mark]
    copyrights: list[str]
    newlines: list[int]  # where lines end, filled when a line is first asked for

    def line(self, word: int) -> int:
        """The line (from 1) on which a word stands."""
        if not self.newlines:
            self.newlines.extend(match.start() for match in re.finditer(r"\n|\Z", self.text))
        return bisect_left(self.newlines, self.starts[word]) + 1

    def quote(self, first: int, last: int) -> str:
        """The reader's own words from word `first` up to `last`, on one line."""
        if first >= last:
            return ""
        start, end = self.starts[first], self.ends[last - 1]
        for mark in self.marks_between(first, last):
            start, end = min(start, mark.start), max(end, mark.end)
        while end < len(self.text) and self.text[end] in ".;:,!?)]\"”'%。；：，！？）":
            end += 1
        while start > 0 and self.text[start - 1] in "([\"“'$":
            start -= 1
        return " ".join(self.text[start:end].replace(SOFT_BREAK, " ").split())

    def marks_between(self, first: int, last: int) -> list[Mark]:
        """The marks among words `first` … `last` - 1, with those at either end that belong to them."""
        before = self.ends[first - 1] if first else 0
        after = self.starts[last] if last < len(self.starts) else len(self.text)
        found = []
        for mark in self.marks[bisect_left(self.marks, before, key=_start) :]:
            if mark.start >= after:
                break
            if mark.start < self.starts[first]:
                if first and not self._opens(mark, before):
                    continue
            elif mark.start >= self.ends[last - 1] and self._opens(mark, self.ends[last - 1]):
                continue
            found.append(mark)
        return found

    def _opens(self, mark: Mark, after: int) -> bool:
        """Whether a mark belongs to what follows it, rather than to the word that ends at `after`."""
        return bool(_BREAK.search(self.text, after, mark.start + 1)) or (
            mark.marker and "\n" in self.text[after : mark.start]
        )

    def breaks_after(self, word: int) -> bool:
        """Whether a sentence, or a line on its own, can end after a word."""
        if word + 1 >= len(self.words):
            return True
        return bool(_BREAK.search(self.text, self.ends[word], self.starts[word + 1] + 1))


def read(text: str) -> Reading:
    """Read a text. Linear in its length."""
    text, copyrights, skipped = plain(text)
    folded = text.casefold()
    if len(folded) != len(text):
        folded = "".join(low if len(low := char.casefold()) == 1 else char for char in text)
    words: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    marks: list[Mark] = []
    offsets: list[int] = [0]
    offset, previous, was_marker = 0, 0, False
    skips = iter(skipped)
    skip = next(skips, None)
    for token in _TOKEN.finditer(folded):
        start, end = token.span()
        while skip and start >= skip[1]:
            skip = next(skips, None)
        if skip and start >= skip[0]:
            previous, was_marker = end, False
            continue
        value = token[0]
        if len(value) < 6 and (value.isdecimal() or (len(value) == 1 and value.isalpha()) or value in _ROMAN):
            if not (value.isascii() or value.isdecimal()):  # one ideograph is a word
                words.append(value)
                starts.append(start)
                ends.append(end)
                offset += 1
                offsets.append(offset)
                previous, was_marker = end, False
                continue
            was_marker = _looks_like_marker(folded, previous, start, end, was_marker)
            marks.append(Mark(offset, value, was_marker, start, end))
            previous = end
            continue
        previous, was_marker = end, False
        if value in _SCHEMES:
            continue
        if not value.isascii():
            pieces = _pieces(value)
            if len(pieces) > 1:
                at = start
                for piece in pieces:
                    words.append(piece)
                    starts.append(at)
                    at += len(piece)
                    ends.append(at)
                    offset += len(piece)
                    offsets.append(offset)
                continue
            value = value.casefold()
        if "'" in value:
            value = value.replace("'", "")
        if value.isdecimal():  # a long number, such as 700000000
            marks.append(Mark(offset, value, False, start, end))
            continue
        words.append(value)
        starts.append(start)
        ends.append(end)
        offset += len(value)
        offsets.append(offset)
    return Reading(text, words, starts, ends, offsets, "".join(words), marks, copyrights, [])


def _pieces(value: str) -> list[str]:
    """A run of letters with every ideograph on its own."""
    if not _CJK.search(value):
        return [value]
    return [piece for piece in _CJK.sub(lambda match: f" {match[0]} ", value).split(" ") if piece]


def _looks_like_marker(text: str, previous: int, start: int, end: int, after_marker: bool) -> bool:
    """Whether a mark stands and is written like numbering: at the head of a line or after a stop, as `1.` or `a)`."""
    if end - start > 3:
        return False
    gap = text[previous:start]
    follow = text[end : end + 2]
    if previous and not (
        "\n" in gap or SOFT_BREAK in gap or after_marker or any(s in gap for s in ".;:。；：") or gap.endswith(" (")
    ):
        return False
    if follow[:1] in (".", ")", ":") or (gap.endswith("(") and follow[:1] == ")"):
        return True
    if after_marker and gap in (".", ").", ".("):  # the second part of 1.1
        return True
    return ("\n" in gap or not previous) and follow[:1] in ("\n", "")


def plain(text: str) -> tuple[str, list[str], list[tuple[int, int]]]:
    """The text without markup, in one Unicode form; the copyright lines in it; and where they stand."""
    text = text.replace("\r\n", "\n").translate(_QUOTES)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    if "/" in text:
        text = _whole_addresses(text)
    if "<" in text:
        text = _without_html(text)
    if "&" in text and ";" in text:
        import html

        text = html.unescape(text).replace("\xa0", " ").translate(_KEPT_BREAKS)
        if "<" in text:  # markup that was shown as text
            text = _without_html(text)
    if "](" in text:
        text = _LINK.sub(lambda match: match[1] + "\n" * (match[0].count("\n") - match[1].count("\n")), text)
    if "\\" in text:
        text = _ESCAPE.sub("", text)
    if "**" in text:
        text = text.replace("**", "")
    copyrights: list[str] = []
    skipped: list[tuple[int, int]] = []
    blanks = [match.span() for match in _FORM.finditer(text)] if "[" in text or "{" in text or "<" in text else []
    for match in _COPYRIGHT_LINE.finditer(text):
        start, end = match.span()
        before = text[max(0, start - 240) : start].rpartition("\n")[0].rpartition("\n")[2]  # the line above
        follows = bool(skipped) and not text[skipped[-1][1] : start].strip()
        if not (follows or start < 160 or not _WORD.search(before) or before.rstrip(' *_"')[-1:] in ".:!>"):
            continue
        if (blank := _BLANK_LINE.search(text, end, end + 240)) and is_notice(text[start : blank.start()]):
            end = blank.start()  # a notice that is wrapped
        line = " ".join(text[start:end].split())
        if _YEAR.search(line) and is_notice(line):
            copyrights.append(line.strip("#*/;<>-= _"))
            skipped.append((start, end))
    return text, copyrights, sorted(skipped + blanks)


def _whole_addresses(text: str) -> str:
    """Join the addresses that a line was too short for: their letters belong together, and so do their line's."""
    lines = text.split("\n")
    widest = max(map(len, lines))
    owner = 0  # the line that holds the beginning of the address
    for number in range(1, len(lines)):
        upper, lower = lines[owner], lines[number]
        if len(upper) >= 0.7 * widest and upper[-1:].isalpha() and lower[:1].isalpha():
            head, tail = upper.rsplit(None, 1)[-1], lower.split(None, 1)[0]
            broken_tag = head.startswith("<") and ">" not in head
            if len(head) + len(tail) > widest and not broken_tag and (_ADDRESS.search(head) or _ADDRESS.search(tail)):
                lines[owner] = upper + tail
                lines[number] = lower[len(tail) :]
                if not lines[number]:
                    continue
        owner = number
    return "\n".join(lines)


def _without_html(text: str) -> str:
    kept, at, until = [], 0, ""
    page = re.search(r"<(?:!doctype\s|html[\s>]|body[\s>])", text, re.I)  # elsewhere, these words are read by people
    for tag in _HIDDEN.finditer(text) if page else ():
        name = tag[2].lower()
        if not until and not tag[1]:
            kept.append(text[at : tag.start()])
            at, until = tag.start(), name
        elif until == name and tag[1]:
            kept.append("\n" * text.count("\n", at, tag.end()))
            at, until = tag.end(), ""
    kept.append(text[at:])  # a style or script that nothing closes is text like any other
    return _TAG.sub(lambda match: (SOFT_BREAK if match["block"] else "") + "\n" * match[0].count("\n"), "".join(kept))


def is_notice(line: str) -> bool:
    """Whether a line is a copyright notice and nothing else: short, and without a word about what one may do."""
    words = _TOKEN.findall(line.casefold())
    telling = TELLING.intersection(words)
    if len(words) <= 10:
        telling -= {"will", "may"}  # people are called so
    return 1 < len(words) <= 24 and not telling
