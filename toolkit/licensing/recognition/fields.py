"""The fields of a template: who licenses what, from which number of users on, where, since when, in which version.

Two licences of one template differ in these and in nothing else, so they are read as values, each with the place where
it stands. `extract` is a function of the text alone: cues of the genre find where a value is first stated, and then
every other place that mentions it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from toolkit.licensing.recognition.outline import Outline, outline
from toolkit.licensing.recognition.reading import Reading
from toolkit.licensing.recognition.values import PLACES, dates, holder, places, stated_versions, thresholds

_WORD = r"[A-Z0-9][\w&'-]*+(?:\.[\w&'-]++)*+(?:(?:(?<=\bInc)|(?<=\bLtd)|(?<=\bCo)|(?<=\bCorp)|(?<=L\.L\.C))\.)?"
_NAME = (
    rf"(?-i:{_WORD}(?:(?:,(?=\s(?:Inc|Ltd|LLC|L\.L\.C|Co|Corp|GmbH)\b))?\s{{1,12}}(?:(?:of|for|and)\s)?{_WORD}){{0,6}})"
)
_LONGEST_NOTICE = 160  # characters
_NOTICE = re.compile(r"copyright|\(c\)", re.I)
_MOST_NAMES = 12  # of each kind; a text that has more is no licence
_PARTIES_STAND_WITHIN = 2000  # characters of an agreement, that name who makes it
_Q, _UNQ = "[“\"‘']", "[”\"’']"
_SELF = rf"{_Q}(?:we|us|our|licensor|company)\b"
_PARTY = (
    re.compile(rf"\b(?:between|and|with|by)\s+(?P<name>{_NAME})(?:\s+and\s+its\s+affiliates)?,?\s*\((?:the\s+)?(?:(?:{_Q}\w[^”\"]{{0,30}}{_UNQ},?\s*(?:or\s+)?)?{_SELF}|{_Q}(?P<short>[A-Z][\w. ]{{1,25}}){_UNQ})", re.I),
    re.compile(rf"{_Q}(?P<short>{_NAME}),?{_UNQ},?\s*(?:or\s+)?{_SELF}", re.I),
    re.compile(rf"{_Q}(?:we|licensor){_UNQ}\s*(?:\(or\s+[^)]{{1,20}}\)\s*)?(?:shall\s+)?means?\s+(?:the\s+)?(?P<name>{_NAME})", re.I),
    re.compile(rf"{_UNQ}\s+(?:or\s+{_Q}we{_UNQ}\s+)(?:shall\s+)?means?\s+(?P<name>{_NAME})", re.I),
    re.compile(
        rf"{_Q}(?P<short>[A-Z]\w{{1,25}}){_UNQ}\s+(?:shall\s+)?means?\s+(?:the\s+)?"
        rf"(?P<name>{_NAME})(?=[^.;,]{{0,30}}(?:Inc\b|Ltd\b|L\.L\.C|LLC|GmbH|Corporation))", re.I),
    re.compile(rf"\bagreement\s+with\s+(?P<name>{_NAME})", re.I),
)  # fmt: skip
_DOER = re.compile(
    rf"(?:^|[\s“\"(])(?P<name>{_NAME})(?:'s)?\s+(?:hereby\s+|may\s+|will\s+)?(?:grants?|reserves|claims\s+no|makes\s+no|promises|lets\s+you|assigns|updates?|terminates?|restricts?|changes?|is\s+committed|and\s+its\s+affiliates|corporate\s+family|affiliates)\b"
)
_MEANT = re.compile(
    rf"{_Q}(?P<name>{_NAME}){_UNQ}(?:\s+or\s+{_Q}(?P<other>{_NAME}){_UNQ})?,?\s+(?:shall\s+)?(?:means?|refers?\s+to)\s+(?:[^\s.;]+\s+){{0,7}}?(?-i:models?|weights|parameters)\b(?!\s+cards)",
    re.I,
)
_SHOWN = (
    re.compile(rf"\b(?:display|show|includ|state|bear|begin|mark)\w*\b[^.;”\"]{{0,90}}?{_Q}(?P<name>[^”\"\n]{{2,40}}){_UNQ}", re.I),
    re.compile(rf"{_Q}(?P<name>[^”\"\n]{{2,40}}){_UNQ}\s+must\s+be\s+(?:prominently\s+)?(?:displayed|shown)", re.I),
)  # fmt: skip
_CREDIT = re.compile(r"^(?:built|made|improved|created|powered|developed)\s+(?:with|using|by|on)\s+", re.I)
_USE_OF = re.compile(rf"\b(?:use|using)\s+(?:of\s+)?(?:the\s+)?(?P<name>{_NAME})\s*(?:\(|AI\s+Model)")
_RELEASE_DATE = re.compile(r"(?P<name>[^\n]{1,60}?)\s+(?:version\s+)?(?:release|effective)\s+date", re.I)
_TITLE_END = re.compile(
    r"[\s,:]+(?:(?:ai\s+)?model\s+licen[cs]e|community|research|non-?commercial|acceptable|prohibited|open\s+model|"
    r"licen[cs]e|terms|agreement|version|tii|series\s+models)\b.*",
    re.I | re.S,
)
_TITLE_VERSION = re.compile(r"(?<![\w.$])(?P<version>\d+(?:\.\d+){1,2})(?![\w%])")
_TRAILING_VERSION = re.compile(r"(?:(?-i:(?<=[a-z]{2}))|[\s_-])v?(?P<version>\d+(?:\.\d+){0,2})$", re.I)
_DATED = re.compile(r"date|dated|effective|updated|modified|released?|version|as\s+of", re.I)

_COMMON_TEXT = """a an the this that these those my our your its any each all such you we us they it i model models software weights
    materials material work works output outputs data derivative derivatives documentation license licence licenses agreement
    licensee licensor contributor contributors legal entity section sections exhibit attachment territory policy use uses
    user users terms party parties service services third person product products code copyright copyrights mit creative
    commons attribution international noncommercial non-commercial sharealike noderivatives public domain general
    community research acceptable prohibited notice notices title and or of for to in by with version release date
    january february march april may june july august september october november december database databases
    contents collection distribution complementary source object form patent trademark trademarks other if no
    nothing except as is not when where while upon subject unless provided whoever everyone however neither affiliate
    affiliates preamble definitions introduction part appendix annex schedule complete end only under additional generate
    original permitted purpose mark marks company confidential information adapter adapters dataset datasets api apis
    llm llms ml ai open responsible modified non exclusive permission
    contribution distribute share conditions text results waiver taxes solutions components commercial purposes
    computational explanatory reproduction large language provider providers recipient recipients rightsholder downstream affirmer universal cc0"""
_COMMON = frozenset(_COMMON_TEXT.split())
_NEXT_VERSION = re.compile(r"[\s_-]v?(?P<version>\d+(?:\.\d+){0,2})(?![\w%]|\.\d)")
_CODED = re.compile(r"[A-Za-z][\w.-]*\d")  # a name such as M2.5 or Q2-7B is a product's
_LAW = frozenset({"license", "licence", "agreement", "terms", "policy", "community", "legal"})


class Field(NamedTuple):
    """One value of a template, in its canonical form, at one place: characters `start` … `end` of the text as
    recognition reads it, words `first` up to `last` (none for a number alone), in a clause. `sentence` counts the
    pieces of the outline; -1 is a copyright line, which is in none."""

    kind: str
    value: str
    clause: str
    sentence: int
    first: int
    last: int
    start: int
    end: int


def extract(reading: Reading, found: Outline | None = None, *, parens: bool = False) -> tuple[Field, ...]:
    """The fields of a text, in its order, each mention of a value by itself."""
    found = found or outline(reading, parens=parens)
    spans: list[tuple[str, str, int, int]] = []
    text = reading.text
    holders = tuple(dict.fromkeys(name for line in reading.copyrights if (name := holder(line))))
    products = list(islice(_products(reading, found), _MOST_NAMES))
    licensors = list(islice(_licensors(reading, holders, products), _MOST_NAMES))
    products = [name for name in products if name.casefold() not in {one.casefold() for one in licensors}]
    spans += _mentions("licensor", licensors, text)
    spans += _mentions("product", products, text)
    spans += _versions(reading, found, [(start, end) for kind, _, start, end in spans if kind == "product"])
    spans += [("date", value, start, end) for value, start, end in dates(text) if _is_dated(text, start, reading)]
    spans += [("threshold", value, start, end) for value, start, end in thresholds(text)]
    for start, end in (match.span("places") for match in PLACES.finditer(text)):
        spans += [("territory", value, start + low, start + high) for value, low, high in places(text[start:end])]
    ends = [piece.last for piece in found.sentences]
    fields = [one for span in _disjoint(spans) if (one := _placed(*span, reading, found, ends))]
    named = any(field.kind in ("licensor", "product") for field in fields)
    kept = [Field("licensor", name, "title", -1, -1, -1, -1, -1) for name in holders if named]
    return (*kept, *fields)


def _placed(
    kind: str, value: str, start: int, end: int, reading: Reading, found: Outline, ends: list[int]
) -> Field | None:
    first, last = bisect_left(reading.starts, start), bisect_left(reading.starts, end)
    if kind in ("licensor", "product", "territory") and first == last:
        return None  # within a copyright line
    number = bisect_right(ends, max(0, first - 1 if first == last else first))
    number = min(number, len(found.sentences) - 1)
    return Field(kind, value, found.sentences[number].clause, number, first, last, start, end) if number >= 0 else None


def _disjoint(spans: list[tuple[str, str, int, int]]) -> list[tuple[str, str, int, int]]:
    """The longest of those that overlap."""
    kept: list[tuple[str, str, int, int]] = []
    for span in sorted(spans, key=lambda span: (span[2], -span[3])):
        if not kept or span[2] >= kept[-1][3]:
            kept.append(span)
        elif span[3] - span[2] > kept[-1][3] - kept[-1][2]:
            kept[-1] = span
    return kept


def _mentions(kind: str, names: list[str], text: str) -> Iterator[tuple[str, str, int, int]]:
    for name in sorted(names, key=len, reverse=True):
        flexible = r"\s+".join(re.escape(part) for part in name.split())
        for match in re.finditer(rf"(?<![\w@/.-]){flexible}(?![\w/]|\.\w)", text, re.I):
            yield kind, name, match.start(), match.end()


def proper_name(name: str) -> str:
    """A name without the common words around it; empty for words that name nobody and nothing."""
    name = re.sub(r"\(\s*$|\s+", " ", name.strip(" \t\n*#_\"“”'’‘:;,-–—[]")).strip()
    words = name.split(" ")
    while words and words[0].casefold() in _COMMON:
        words.pop(0)
    while words and words[-1].strip(",").casefold() in _COMMON - {"ai"}:
        words.pop()
    name = " ".join(words).rstrip(",")
    if name.endswith(".") and not re.search(r"\b(?:Inc|Ltd|Co|Corp|L\.L\.C|B\.V|S\.A)\.$", name):
        name = name[:-1]
    return name if len(name) > 1 and not all(part in _COMMON for part in re.split(r"[\s-]+", name.casefold())) else ""


def without_version(name: str) -> str:
    return _TRAILING_VERSION.sub("", name).strip(" -_")


def _licensors(reading: Reading, holders: tuple[str, ...], products: list[str]) -> Iterator[str]:
    text = reading.text
    seen: Counter[str] = Counter()
    stated: dict[str, None] = {}
    for pattern in _PARTY:
        for match in pattern.finditer(text, 0, _PARTIES_STAND_WITHIN if pattern is _PARTY[0] else len(text)):
            for group in ("name", "short"):
                if group in match.re.groupindex and match[group] and (name := proper_name(match[group])):
                    stated.setdefault(name)
    for match in _DOER.finditer(text):
        if name := proper_name(match["name"]):
            seen[name] += 1
    terms = _without_notices(text) if holders else ""
    stated |= dict.fromkeys(name for name in holders[:_MOST_NAMES] if any(_mentions("licensor", [name], terms)))
    told = {product.casefold() for product in products}
    for name, count in seen.most_common(1):
        if (count > 1 or text.count(name) > 3) and without_version(name).casefold() not in told:
            stated.setdefault(name)
    yield from (name for name in stated if not _is_law(name) and len(name) < 80)


def _without_notices(text: str) -> str:
    """The text without the short lines that speak of copyright: what is left are the terms."""
    return "\n".join(line for line in text.split("\n") if len(line) > _LONGEST_NOTICE or not _NOTICE.search(line))


def _is_law(name: str) -> bool:
    return bool(_LAW.intersection(name.casefold().split()))


def _products(reading: Reading, found: Outline) -> Iterator[str]:
    """The names of what is licensed, without version; the title's only where the terms use it too."""
    text = reading.text
    stated: dict[str, None] = {}
    for match in _MEANT.finditer(text):
        for group in ("name", "other"):
            if match[group] and (name := proper_name(match[group])):
                stated.setdefault(without_version(name))
    for pattern in _SHOWN:
        for match in pattern.finditer(text):
            credit = _CREDIT.sub("", match["name"])
            name = proper_name(credit)
            proper = all(word[:1].isupper() or word[:1].isdecimal() for word in name.split())
            if name and proper and (credit != match["name"] or not _TITLE_END.search(f" {name}")):
                stated.setdefault(without_version(name))
    titles = [reading.quote(piece.first, piece.last) for piece in found.sentences if piece.heading]
    head = [line for line in text.split("\n")[:30] if line.strip()][:4]
    titles += [dated["name"] for line in head if (dated := _RELEASE_DATE.search(line))] + head[:1]
    titles += [match["name"] for match in _USE_OF.finditer(text)]
    for title in islice(dict.fromkeys(titles), _MOST_NAMES):
        if len(title) > 110:
            continue
        name = proper_name(without_version(proper_name(_TITLE_END.sub("", f"{title} "))))
        if name and len(name.split()) <= 5 and not _is_law(name) and (_CODED.search(name) or _used(name, text)):
            stated.setdefault(name)
    yield from dict.fromkeys(name for name in stated if len(name) > 1 and len(name) <= 40 and not _is_law(name))


def _used(name: str, text: str) -> bool:
    """Whether the terms speak of a thing of that name, and not only of the licence that is called so."""
    flexible = r"\s+".join(re.escape(part) for part in name.split())
    uses = list(re.finditer(rf"(?<![\w@/.-]){flexible}(?![\w/]|\.\w)(?P<after>[^\n]{{0,60}})", text, re.I))
    things = [match for match in uses if not re.match(r"[\s\d.,-]*(?:licen[cs]e|public|legal|terms|agreement|policy|corporation|attribution)", match["after"], re.I)]  # fmt: skip
    return len(things) >= 2


def _versions(reading: Reading, found: Outline, products: list[tuple[int, int]]) -> Iterator[tuple[str, str, int, int]]:
    text = reading.text
    for value, start, end in stated_versions(text):
        if not _of_another(text[max(0, start - 32) : start]):
            yield "version", value, start, end
    for piece in found.sentences:
        if piece.heading and piece.last <= 40:
            low, high = reading.starts[piece.first], reading.ends[piece.last - 1]
            for match in _TITLE_VERSION.finditer(text, low, min(len(text), high + 12)):
                if text[: match.start()].rpartition("\n")[2].strip():  # at the head of a line it is numbering
                    yield "version", match["version"], *match.span("version")
    for _, end in products:
        if after := _NEXT_VERSION.match(text, end):
            yield "version", after["version"], *after.span("version")


def _of_another(before: str) -> bool:
    """Whether a version is that of another text or program: “Apache License, Version 2.0” inside other terms."""
    return bool(re.search(r"apache|gpl|python|directive", before, re.I)) and "\n" not in before.strip(" ")


def _is_dated(text: str, start: int, reading: Reading) -> bool:
    return start < 600 or bool(_DATED.search(text, max(0, start - 60), start))
